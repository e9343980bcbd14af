#pragma once
// AVX-512 (F, BW, DQ, VL): the operations that the vector extensions lack.

#include "relpos/core/int4.hpp"
#include "relpos/simd/block_ops.hpp"
#include "relpos/simd/vector_pack.hpp"

#if RELPOS_HAS_AVX512

#include <immintrin.h>

namespace relpos::inline RELPOS_ABI {

template <>
struct vector_ops<avx512> {
  using floats = vector_type<float, avx512>;
  using ints = vector_type<std::int32_t, avx512>;
  using words = vector_type<std::uint32_t, avx512>;

  // GCC 12 warns of uninitialised values inside its own unmasked intrinsics. The zero-masked
  // intrinsics with a constant full mask compile to the same instructions.
  static constexpr __mmask16 all = 0xffff;

  static RELPOS_INLINE floats broadcast(float x) { return _mm512_set1_ps(x); }
  static RELPOS_INLINE ints broadcast(std::int32_t x) {
    return reinterpret_cast<ints>(_mm512_set1_epi32(x));
  }
  static RELPOS_INLINE words broadcast(std::uint32_t x) {
    return reinterpret_cast<words>(broadcast(static_cast<std::int32_t>(x)));
  }
  static RELPOS_INLINE floats broadcast(const half& x) {
    return _mm512_maskz_cvtph_ps(all, _mm256_set1_epi16(static_cast<short>(x.bits)));
  }
  static RELPOS_INLINE floats fma(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
  static RELPOS_INLINE floats max(floats a, floats b) { return _mm512_maskz_max_ps(all, a, b); }
  static RELPOS_INLINE floats min(floats a, floats b) { return _mm512_maskz_min_ps(all, a, b); }
  /// x - floor(x). Without vreduceps, which on Zen 4 waits for the previous value of its
  /// destination.
  static RELPOS_INLINE floats fraction(floats x) {
    return x - _mm512_maskz_roundscale_ps(all, x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  /// a 2^floor(x), and 0 where x < least. `least` must exclude all subnormal results.
  static RELPOS_INLINE floats scale_by_power(floats a, floats x, float least) {
    const __mmask16 kept = _mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(kept, a, x);
  }
  static RELPOS_INLINE bool any(ints condition) {
    return _mm512_movepi32_mask(reinterpret_cast<__m512i>(condition)) != 0;
  }
  static RELPOS_INLINE floats load(const bfloat16* source) {
    // One shuffle puts each number into the upper half of its lane. It is faster than widening and
    // shifting.
    constexpr __mmask32 upper_halves = 0xaaaaaaaa;
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
    const __m512i places = _mm512_maskz_slli_epi32(
        all, _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), 16);
    return reinterpret_cast<floats>(
        _mm512_maskz_permutexvar_epi16(upper_halves, places, _mm512_castsi256_si512(bits)));
  }
  static RELPOS_INLINE floats load(const half* source) {
    return _mm512_maskz_cvtph_ps(all, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source)));
  }
  static RELPOS_INLINE floats load(const int8* source) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    return _mm512_maskz_cvtepi32_ps(all, _mm512_maskz_cvtepi8_epi32(all, bytes));
  }
  static RELPOS_INLINE words load(const std::uint8_t* source) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    return reinterpret_cast<words>(_mm512_maskz_cvtepu8_epi32(all, bytes));
  }
};

/// Groups of 4 bits: a permutation looks up the 16 values that a group has.
template <int Channels>
struct block_ops<avx512, int4_group<Channels>> {
  static constexpr int vectors = Channels / 16;

  static RELPOS_INLINE void load(const int4_group<Channels>* group, pack<float, avx512>* out) {
    constexpr __mmask16 all = 0xffff;
    const __m128 factors = _mm_cvtph_ps(_mm_loadu_si32(group));
    const __m512 scale = _mm512_maskz_broadcastss_ps(all, factors);
    const __m512 zero = _mm512_maskz_broadcastss_ps(all, _mm_movehdup_ps(factors));
    const __m512 codes = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512 values = _mm512_fmadd_ps(codes, scale, zero);
    RELPOS_UNROLL
    for (int v = 0; v < vectors / 2; ++v) {
      const __m512i bytes = _mm512_maskz_cvtepu8_epi32(
          all, _mm_loadu_si128(reinterpret_cast<const __m128i*>(group->codes + 16 * v)));
      // The permutation ignores all but four bits of an index.
      out[v] = pack<float, avx512>(_mm512_maskz_permutexvar_ps(all, bytes, values));
      out[v + vectors / 2] = pack<float, avx512>(
          _mm512_maskz_permutexvar_ps(all, _mm512_maskz_srli_epi32(all, bytes, 4), values));
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
