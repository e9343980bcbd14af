#pragma once
// tanh(x) for float lanes, within 3 ULP (bound tested over all floats). Odd, monotone at the ends:
// exactly +-1 from |x| = 9.02 on. NaN returns NaN.

#include "relpos/simd/exp2.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
RELPOS_INLINE float_pack<Isa> tanh(float_pack<Isa> x) {
  using real = float_pack<Isa>;

  // 1 - 2 / (e^2|x| + 1) cancels near zero. There: x + x^3 p(x^2), relative error 4.4e-9 (Remez).
  const real square = x * x;
  real p(-5.7049880e-3f);
  p = fma(p, square, real(2.0639088e-2f));
  p = fma(p, square, real(-5.3739715e-2f));
  p = fma(p, square, real(1.3331442e-1f));
  p = fma(p, square, real(-3.3333282e-1f));
  const real near_zero = fma(p * square, x, x);

  const real magnitude = abs(x);
  const real two_log2e(2.8853900817779268f);
  const real power = exp2<Isa>(min(magnitude, real(10.0f)) * two_log2e);
  const real ratio = real(1.0f) - real(2.0f) / (power + real(1.0f));
  const real away = select(x < real(0.0f), -ratio, ratio);

  // `magnitude > 0.625` is false for NaN, and `near_zero` keeps a NaN.
  return select(magnitude > real(0.625f), away, near_zero);
}

}  // namespace relpos::inline RELPOS_ABI
