#pragma once
// The mask of left padding: prompts of different lengths in one batch, padded in front so that
// their ends align.

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sequence_mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup batches
/// @{

/// The mask of padding in front of prompts of different lengths, whose ends align.
///
/// `left_padding{counts}`: the positions before counts[batch] of a batch entry are padding, which
/// sees no key and is not seen. Use it with `causal{}` for a decoder. Padding does not change
/// distances, so relative encodings need nothing else.
///
/// `left_padding{counts, mask}` adds a mask of key ranges that counts positions from the first
/// token of each entry. `blockwise_causal` needs this, so that an entry has the same output as
/// without padding.
///
/// `counts` holds one relpos::index_t >= 0 per batch entry; the caller keeps it alive.
///
/// @snippet reference.cpp left_padding
template <class Mask = full>
struct left_padding {
  borrowed_values<index_t> counts;  ///< [batch], from 0 to 2^60
  sequence_mask<Mask> inside;       ///< the mask of each entry's tokens

  /// The counts of padding, and a mask of key ranges.
  constexpr left_padding(borrowed_values<index_t> batch_counts, Mask mask = {})
      : counts(batch_counts), inside{mask} {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_entry {
    index_t count;
    sequence_mask<Mask> inside;
    constexpr key_range visible_keys(index_t q_pos) const {
      return inside.visible_keys({count, 2 * max_offset}, q_pos);
    }
  };
  constexpr of_entry bind(index_t batch, index_t) const { return {counts.data[batch], inside}; }

  status check(const attention_shape& shape) const {
    if (counts.size != shape.batch) {
      return status::error(
          status_code::invalid_shape, "left_padding: %lld counts for a batch of %lld",
          static_cast<long long>(counts.size), static_cast<long long>(shape.batch));
    }
    if (status valid = check_positions_of("left_padding", "counts", counts, 0); !valid)
      return valid;
    return inside.check(shape);
  }
  bool reads(const byte_range& memory) const {
    return counts.overlaps(memory) || inside.reads(memory);
  }
};
/// @cond
left_padding(borrowed_values<index_t>) -> left_padding<full>;
template <class Mask>
left_padding(borrowed_values<index_t>, Mask) -> left_padding<Mask>;
/// @endcond

/// @}

}  // namespace relpos::inline RELPOS_ABI
