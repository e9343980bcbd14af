#pragma once
// 2^x for float lanes, within 2 ULP (bound tested over all floats), from additions and
// multiply-adds.
//
// x < -126, whose power is subnormal, returns exactly 0: subnormal softmax weights would slow the
// product with V down many times over. exp2(0) is exactly 1. Above 127.99 the result is not
// meaningful (softmax exponents are <= 0). NaN returns NaN. The result does not depend on MXCSR's
// flush modes. Under directed rounding the error is within 2e-5, or a few ULP on instruction sets
// with a floor instruction.

#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Exponents below this give exactly zero: 2^-126 is the smallest normal float.
inline constexpr float exp2_cut = -126.0f;

/// A polynomial, whose coefficients are given from the highest power down.
template <class Real, class... Coefficients>
RELPOS_INLINE Real polynomial(Real x, float highest, Coefficients... lower) {
  Real p(highest);
  ((p = fma(p, x, Real(lower))), ...);
  return p;
}

/// 2^f on [0, 1], relative error 8.7e-9 (minimax, as rounded). Exactly 1 at 0.
template <class Real>
RELPOS_INLINE Real exp2_of_fraction(Real f) {
  const Real p = polynomial(f, 2.1615763e-4f, 1.2467015e-3f, 9.6755410e-3f, 5.5485237e-2f,
                            2.4022931e-1f, 6.9314706e-1f);
  return fma(p, f, Real(1.0f));
}

/// n + 127 in the low bits of x + exp2_magic, for the whole number n nearest to x. Shifted left by
/// 23 they are the exponent field of 2^n, and the upper bits of the sum are gone. n = -127 becomes
/// the exponent field 0, which is zero.
inline constexpr float exp2_magic = 12582912.0f + 127.0f;

/// 2^n, for the sum n + exp2_magic.
template <class Isa>
RELPOS_INLINE float_pack<Isa> power_of_sum(float_pack<Isa> sum) {
  using word = pack<std::uint32_t, Isa>;  // unsigned: below the cut the sum wraps around
  const word exponent = shift_left(sum.template bits_as<std::uint32_t>(), 23);
  return exponent.template bits_as<float>();
}

template <class Isa>
RELPOS_INLINE float_pack<Isa> exp2(float_pack<Isa> x) {
  using real = float_pack<Isa>;
  using ops = vector_ops<Isa>;
  const real magic(exp2_magic);

  // 2^x = 2^floor(x) 2^f, by the instructions that the set has for it.
  if constexpr (requires { ops::scale_by_power(x.v, x.v, exp2_cut); }) {
    return ops::scale_by_power(exp2_of_fraction(real(ops::fraction(x.v))).v, x.v, exp2_cut);
  } else if constexpr (requires { ops::floor(x.v); }) {
    const real kept = max(real(exp2_cut - 1.0f), x);  // NaN is kept
    const real whole(ops::floor(kept.v));
    return exp2_of_fraction(kept - whole) * power_of_sum<Isa>(whole + magic);
  } else {
    // The sum rounds to the nearest whole number. Relative error on [-0.5, 0.5] 2.6e-9 (Remez).
    const real sum = x + magic;
    const real f = x - (sum - magic);
    const real p = polynomial(f, 1.5594678e-4f, 1.3406644e-3f, 9.6176930e-3f, 5.5503106e-2f,
                              2.4022653e-1f, 6.9314721e-1f);
    const real power = fma(p, f, real(1.0f)) * power_of_sum<Isa>(sum);
    return select(x < real(exp2_cut), real(0.0f), power);
  }
}

}  // namespace relpos::inline RELPOS_ABI
