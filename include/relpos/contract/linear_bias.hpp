#pragma once
// bias = slope (k_pos - q_pos): what every policy that is linear in the distance binds to, so that all of them share
// their kernels.

#include "relpos/core/index.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

struct linear_bias {
  float slope;

  template <class Real>
  RELPOS_INLINE constexpr Real bias(Real distance) const {
    return slope * distance;
  }
  /// One rounding where the instruction set has it. Left to compilers, some copies of a loop would round once and others
  /// twice.
  template <class Real>
  RELPOS_INLINE constexpr Real add_to(Real score, Real distance) const {
    return fma(distance, Real(slope), score);
  }
  constexpr linear_bias scaled(float factor) const { return {slope * factor}; }
  constexpr float upper_bound(index_t first, index_t last) const {
    return slope * static_cast<float>(slope < 0.0f ? first : last);
  }
};

}  // namespace relpos::inline RELPOS_ABI
