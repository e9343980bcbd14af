#pragma once
// The common part of documents and left_padding: a mask inside a sequence that lies within the rows
// of a call. For this mask, the sequence begins at position 0.

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Mask>
struct sequence_mask {
  static_assert(masks_range<Mask> && !masks_elements<Mask> && !is_bias<Mask>,
                "relpos: the mask inside of documents or left_padding is one of key ranges, the "
                "same for all heads and entries of the batch");
  Mask mask;

  /// The keys of `sequence`, a range of positions, that the query at q_pos sees. Empty if the query
  /// is not in the sequence.
  constexpr key_range visible_keys(const key_range& sequence, index_t q_pos) const {
    if (!sequence.contains(q_pos)) return {};
    const key_range positions{0, sequence.last - sequence.first};
    const key_range visible = intersect(mask.visible_keys(q_pos - sequence.first), positions);
    return {visible.first + sequence.first, visible.last + sequence.first};
  }
  status check(const attention_shape& shape) const {
    if constexpr (requires { mask.check(shape); }) return mask.check(shape);
    return {};
  }
  bool reads(const byte_range& memory) const {
    if constexpr (requires { mask.reads(memory); }) return mask.reads(memory);
    return false;
  }
};

}  // namespace relpos::inline RELPOS_ABI
