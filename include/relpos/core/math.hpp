#pragma once
// Elementary functions on scalars, under the names that packs overload: a policy written with them
// serves the float64 reference, the vector loops and a GPU thread from one source.

#include <concepts>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup own_policies
/// @{

/// The magnitude.
template <std::floating_point Real>
constexpr Real abs(Real x) {
  return x < Real(0) ? -x : x;
}

/// The larger of two; `b` where one of them is not a number.
template <std::floating_point Real>
constexpr Real max(Real a, Real b) {
  return a > b ? a : b;
}

/// The smaller of two; `b` where one of them is not a number.
template <std::floating_point Real>
constexpr Real min(Real a, Real b) {
  return a < b ? a : b;
}

/// a * b + c, rounded once if the instruction set has an fma.
template <std::same_as<float> Real>
constexpr Real fma(Real a, Real b, Real c) {
  if constexpr (RELPOS_HAS_FMA) {
    return __builtin_fmaf(a, b, c);
  } else {
    return a * b + c;
  }
}

/// `condition ? a : b`, lane by lane for packs.
template <std::floating_point Real>
constexpr Real select(bool condition, Real a, Real b) {
  return condition ? a : b;
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
