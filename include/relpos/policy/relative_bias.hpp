#pragma once
// A bias that depends only on head and distance, from any scalar function. At its start, each call
// evaluates the function for each head at all distances between the smallest and the largest that a
// query sees. The loop over keys then loads one vector per vector of scores, whatever the function
// costs.

#include <type_traits>

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// A bias from any scalar function of head and distance, tabulated once per call.
///
/// `relative_bias{[&](index_t head, index_t distance) { return -p[head] * std::log1p(...); }}`.
///
/// distance = k_pos - q_pos. The function is copied and must be trivially copyable: capture vectors
/// by reference. It may run on several threads of the executor at once, and must not throw. It is
/// called only for distances that range masks leave visible; under `causal{}` these are never
/// positive. (With `token_positions`, for all distances between the smallest and the largest.)
///
/// @copydetails relative_bias.hpp
/// @snippet reference.cpp relative_bias
template <class Function>
struct relative_bias {
  static_assert(std::is_invocable_r_v<double, const Function&, index_t, index_t>,
                "relpos: relative_bias takes a function of (head, distance) that returns a number");
  static_assert(std::is_trivially_copyable_v<Function>,
                "relpos: the function of relative_bias is copied bit by bit: capture containers by "
                "reference");

  Function function;  ///< (head, distance) -> a number

  /// Copies the function.
  constexpr relative_bias(Function bias_function) : function(bias_function) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  double tabulated_bias(index_t head, index_t distance) const {
    return static_cast<double>(function(head, distance));
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
