#pragma once
// A bias of the distance on another axis of token_positions than the first: the horizontal and
// vertical distances of boxes in a document (UDOP, LayoutLMv3).

//   relpos::attention(q, k, v, t5_bias{along, bidirectional, {32, 128}},
//                     on_axis{1, t5_bias{across, bidirectional, {32, 100}}},
//                     on_axis{2, t5_bias{down, bidirectional, {32, 100}}},
//                     relpos::token_positions{boxes, boxes});  // [3, batch, row]

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// A bias of the distance on another axis of token_positions than the first (UDOP, LayoutLMv3).
///
/// `on_axis{axis, bias}`: axis from 0 up to the last of the call's token_positions. The bias is
/// computed, tabulated or mixed. Without token_positions all axes are the row's position. Tiles of
/// distant keys are not left out, and a default scale of the bias is not taken over. On the CPU
/// only.
///
/// @snippet reference.cpp on_axis
template <class Bias>
struct on_axis {
  static_assert(computes_bias<head_policy_of<Bias>> || has_bias_table<Bias>,
                "relpos: on_axis holds a bias of the distance");
  index_t of_tokens;  ///< the axis, from 0 to 3
  Bias inside;        ///< a bias that is computed, tabulated or mixed

  /// The axis, and a bias of the distance on it.
  constexpr on_axis(index_t axis, const Bias& bias) : of_tokens(axis), inside(bias) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr index_t axis() const { return of_tokens; }
  constexpr auto bind(index_t batch, index_t head) const {
    return relpos::bind(inside, batch, head);
  }
  constexpr double tabulated_bias(index_t head, index_t distance) const
    requires tabulates_bias<Bias>
  {
    return static_cast<double>(inside.tabulated_bias(head, distance));
  }
  constexpr index_t terms() const
    requires mixes_bias<Bias>
  {
    return inside.terms();
  }
  constexpr double tabulated_term(index_t head, index_t term, index_t distance) const
    requires mixes_bias<Bias>
  {
    return static_cast<double>(inside.tabulated_term(head, term, distance));
  }
  constexpr distance_range varies() const { return varying_distances(inside); }

  constexpr bool vanishes_beyond() const
    requires requires(const Bias& bias) { bias.vanishes_beyond(); }
  {
    return inside.vanishes_beyond();
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    if constexpr (requires { inside.check_sequences(call); }) return inside.check_sequences(call);
    return {};
  }

  status check(const attention_shape& shape) const {
    if (of_tokens < 0 || of_tokens >= max_axes) {
      return status::error(status_code::invalid_value, "on_axis: axis is %lld, must be 0 to %lld",
                           static_cast<long long>(of_tokens), static_cast<long long>(max_axes - 1));
    }
    if constexpr (requires { inside.check(shape); }) return inside.check(shape);
    return {};
  }
  bool reads(const byte_range& memory) const {
    if constexpr (requires { inside.reads(memory); }) return inside.reads(memory);
    return false;
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
