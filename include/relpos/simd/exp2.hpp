#pragma once
// 2^x for float lanes, within 2 ULP (bound tested over all floats), from additions and multiply-adds.
//
// x < -126, whose power is subnormal, gives exactly 0: subnormal softmax weights would slow the
// product with V down many times over. exp2(0) is exactly 1. Above 127.99 the result is not
// meaningful (softmax exponents are <= 0). NaN gives NaN. Does not depend on MXCSR's flush modes.

#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Exponents below this give exactly zero: 2^-126 is the smallest normal float.
inline constexpr float exp2_cut = -126.0f;

/// 1 + f p(f) for a polynomial p, the coefficients from the highest power down. The 1 is kept exact.
template <class Real, class... Coefficients>
RELPOS_INLINE Real one_plus_polynomial(Real f, float highest, Coefficients... lower) {
  Real p(highest);
  ((p = fma(p, f, Real(lower))), ...);
  return fma(p, f, Real(1.0f));
}

template <class Isa>
RELPOS_INLINE float_pack<Isa> exp2(float_pack<Isa> x) {
  using real = float_pack<Isa>;
  using word = pack<std::uint32_t, Isa>;  // unsigned: below the cut the sum wraps around

  if constexpr (requires { vector_ops<Isa>::scale_by_power(x.v, x.v, exp2_cut); }) {
    // 2^x = 2^floor(x) 2^f: rounding down and scaling are one instruction each, and do without a bias, a shift
    // and a selection. Relative error on [0, 1] 8.7e-9 (minimax, as rounded).
    using ops = vector_ops<Isa>;
    const real p = one_plus_polynomial(real(ops::fraction(x.v)), 2.1615763e-4f, 1.2467015e-3f,
                                       9.6755410e-3f, 5.5485237e-2f, 2.4022931e-1f, 6.9314706e-1f);
    return ops::scale_by_power(p.v, x.v, exp2_cut);
  } else {
    // Adding 1.5 * 2^23 leaves round(x) in the low bits of the sum.
    const real magic(12582912.0f);
    const real shifted = x + magic;
    const real f = x - (shifted - magic);

    // Relative error on [-0.5, 0.5] 2.6e-9 (Remez).
    const real p = one_plus_polynomial(f, 1.5594678e-4f, 1.3406644e-3f, 9.6176930e-3f,
                                       5.5503106e-2f, 2.4022653e-1f, 6.9314721e-1f);

    // The shift drops the magic's own bits; what is left is the exponent field of 2^round(x).
    const word exponent =
        shift_left(shifted.template bits_as<std::uint32_t>(), 23) + word(127u << 23);
    const real power = p * exponent.template bits_as<float>();
    return select(x < real(exp2_cut), real(0.0f), power);
  }
}

}  // namespace relpos::inline RELPOS_ABI
