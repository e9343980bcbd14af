#pragma once
// AVX512_BF16: products of pairs of bfloat16 numbers beside AVX-512.

#include "relpos/simd/bfloat16/pair_ops.hpp"

#if RELPOS_HAS_AVX512_BF16

#include <immintrin.h>

namespace relpos::inline RELPOS_ABI {

template <>
struct pair_ops<avx512> {
  using floats = pack<float, avx512>;
  using words = pack<std::uint32_t, avx512>;

  static RELPOS_INLINE floats dot(floats sum, words a, words b) {
    return floats(
        _mm512_dpbf16_ps(sum.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v)));
  }
  static RELPOS_INLINE words round(floats first, floats second) {
    return joined_halves(round_neighbours(first, second));
  }
  static RELPOS_INLINE words round_neighbours(floats x, floats y) {
    return words(reinterpret_cast<words::vector>(_mm512_cvtne2ps_pbh(y.v, x.v)));
  }
  static RELPOS_INLINE words join(const bfloat16* first, const bfloat16* second) {
    const __m256i lower = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(first));
    const __m256i upper = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(second));
    const __m512i both = _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(lower), upper, 1);
    return joined_halves(words(reinterpret_cast<words::vector>(both)));
  }

 private:
  /// Pairs the numbers of the lower half of a vector with the numbers of the upper half.
  static RELPOS_INLINE words joined_halves(words x) {
    const __m512i places =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    return words(reinterpret_cast<words::vector>(
        _mm512_maskz_permutexvar_epi16(0xffffffff, places, reinterpret_cast<__m512i>(x.v))));
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
