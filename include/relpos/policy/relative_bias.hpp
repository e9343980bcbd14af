#pragma once
// Any bias that depends on (head, distance) alone, from a scalar function. It is asked once per
// head and distance that some query sees, at the start of each call; the loop then reads one vector
// per vector of scores, whatever the function costs.

#include <type_traits>

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// `relative_bias{[&](index_t head, index_t distance) { return -p[head] * std::log1p(...); }}`.
///
/// distance = k_pos - q_pos. The function is copied (trivially: capture vectors by reference), may
/// run on any of the executor's threads at once, and must not throw. It is asked only for distances
/// that range masks leave visible: under `causal{}` never for a positive one. (With
/// `token_positions`, for all between the smallest and the largest.)
template <class Function>
struct relative_bias {
  static_assert(std::is_invocable_r_v<double, const Function&, index_t, index_t>,
                "relpos: relative_bias takes a function of (head, distance) that returns a number");
  static_assert(std::is_trivially_copyable_v<Function>,
                "relpos: the function of relative_bias is copied bit by bit: capture containers by "
                "reference");

  Function function;

  constexpr relative_bias(Function of_head_and_distance) : function(of_head_and_distance) {}

  double tabulated_bias(index_t head, index_t distance) const {
    return static_cast<double>(function(head, distance));
  }
};

}  // namespace relpos::inline RELPOS_ABI
