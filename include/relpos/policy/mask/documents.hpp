#pragma once
// Several documents packed into one sequence, none of which sees another.

#include <algorithm>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sequence_mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup batches
/// @{

/// A mask of documents packed into one sequence, none of which sees another.
///
/// `documents{starts}`: document i is at positions [starts[i], starts[i + 1]); the last number is
/// the end of the last document. Positions outside all documents see no key and are not seen. Use
/// it with `causal{}` for a decoder.
///
/// `documents{starts, mask}` adds a mask of key ranges that counts positions from the start of each
/// document. `blockwise_causal` needs this, so that a document has the same output as alone.
///
/// `starts` holds the cumulative lengths that variable-length kernels take: relpos::index_t
/// (64-bit), each at least the one before. The caller keeps them alive. Cost: a binary search per
/// query row.
///
/// @snippet reference.cpp documents
template <class Mask = full>
struct documents {
  borrowed_values<index_t> starts;  ///< ascending, within +-2^60
  sequence_mask<Mask> inside;       ///< the mask of each document

  /// The starts of the documents, and a mask of key ranges.
  constexpr documents(borrowed_values<index_t> boundaries, Mask mask = {})
      : starts(boundaries), inside{mask} {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const {
    const index_t* const end = starts.data + starts.size;
    const index_t* const next = std::upper_bound(starts.data, end, q_pos);
    if (next == starts.data || next == end) return {};
    return inside.visible_keys({next[-1], *next}, q_pos);
  }

  status check(const attention_shape& shape) const {
    if (status valid = check_positions_of("documents", "starts", starts, -max_offset); !valid) {
      return valid;
    }
    for (index_t i = 1; i < starts.size; ++i) {
      if (starts.data[i - 1] <= starts.data[i]) continue;
      return status::error(status_code::invalid_value,
                           "documents: starts must ascend, but %lld is followed by %lld at %lld",
                           static_cast<long long>(starts.data[i - 1]),
                           static_cast<long long>(starts.data[i]), static_cast<long long>(i));
    }
    return inside.check(shape);
  }
  bool reads(const byte_range& memory) const {
    return starts.overlaps(memory) || inside.reads(memory);
  }
};
/// @cond
documents(borrowed_values<index_t>) -> documents<full>;
template <class Mask>
documents(borrowed_values<index_t>, Mask) -> documents<Mask>;
/// @endcond

/// @}

}  // namespace relpos::inline RELPOS_ABI
