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

/// 1 + f p(f) for a polynomial p, whose coefficients are given from the highest power down. The 1
/// is not a rounded coefficient, so the result at f = 0 is exactly 1.
template <class Real, class... Coefficients>
RELPOS_INLINE Real one_plus_polynomial(Real f, float highest, Coefficients... lower) {
  Real p(highest);
  ((p = fma(p, f, Real(lower))), ...);
  return fma(p, f, Real(1.0f));
}

/// 2^f on [0, 1], relative error 8.7e-9 (minimax, as rounded).
template <class Real>
RELPOS_INLINE Real exp2_of_fraction(Real f) {
  return one_plus_polynomial(f, 2.1615763e-4f, 1.2467015e-3f, 9.6755410e-3f, 5.5485237e-2f,
                             2.4022931e-1f, 6.9314706e-1f);
}

template <class Isa>
RELPOS_INLINE float_pack<Isa> exp2(float_pack<Isa> x) {
  using real = float_pack<Isa>;
  using ops = vector_ops<Isa>;
  // For a whole number n, the low bits of n + magic are n + 127. Shifted left by 23 they are the
  // exponent field of 2^n, and the upper bits of the sum are gone. n = -127 becomes the exponent
  // field 0, which is zero.
  const real magic(12582912.0f + 127.0f);
  const auto power = [](real sum) RELPOS_LAMBDA {
    using word = pack<std::uint32_t, Isa>;  // unsigned: below the cut the sum wraps around
    const word exponent = shift_left(sum.template bits_as<std::uint32_t>(), 23);
    return exponent.template bits_as<float>();
  };

  // 2^x = 2^floor(x) 2^f, by the instructions that the set has for it.
  if constexpr (requires { ops::scale_by_power(x.v, x.v, exp2_cut); }) {
    return ops::scale_by_power(exp2_of_fraction(real(ops::fraction(x.v))).v, x.v, exp2_cut);
  } else if constexpr (requires { ops::floor(x.v); }) {
    const real kept = max(real(exp2_cut - 1.0f), x);  // NaN is kept
    const real whole(ops::floor(kept.v));
    return exp2_of_fraction(kept - whole) * power(whole + magic);
  } else {
    // The sum rounds to the nearest whole number. Relative error on [-0.5, 0.5] 2.6e-9 (Remez).
    const real sum = x + magic;
    const real p = one_plus_polynomial(x - (sum - magic), 1.5594678e-4f, 1.3406644e-3f,
                                       9.6176930e-3f, 5.5503106e-2f, 2.4022653e-1f, 6.9314721e-1f);
    return select(x < real(exp2_cut), real(0.0f), p * power(sum));
  }
}

}  // namespace relpos::inline RELPOS_ABI
