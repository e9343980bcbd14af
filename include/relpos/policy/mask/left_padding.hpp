#pragma once
// A batch of prompts of different lengths, aligned at their ends by padding before them.

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sequence_mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// `left_padding{counts}`: the positions before counts[batch] of a batch entry are padding, which
/// sees nothing and is not seen. Beside `causal{}` for a decoder: a distance is what it is without
/// padding, so relative encodings need nothing else.
///
/// `left_padding{counts, mask}` has a mask of key ranges that reads positions from the first token
/// of each entry on, as `blockwise_causal` must for an entry to give what it gives unpadded.
///
/// `counts` holds one relpos::index_t per batch entry, from 0, and is kept by the caller.
template <class Mask = full>
struct left_padding {
  borrowed_values<index_t> counts;
  sequence_mask<Mask> inside;

  constexpr left_padding(borrowed_values<index_t> of_batch, Mask mask = {})
      : counts(of_batch), inside{mask} {}

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
left_padding(borrowed_values<index_t>) -> left_padding<full>;
template <class Mask>
left_padding(borrowed_values<index_t>, Mask) -> left_padding<Mask>;

}  // namespace relpos::inline RELPOS_ABI
