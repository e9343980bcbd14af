#pragma once
// AVX2 with FMA and F16C: the operations that the vector extensions lack.

#include "relpos/simd/vector_pack.hpp"

#if RELPOS_HAS_AVX2

#include <immintrin.h>

namespace relpos::inline RELPOS_ABI {

template <>
struct vector_ops<avx2> {
  using floats = vector_type<float, avx2>;
  using ints = vector_type<std::int32_t, avx2>;
  using words = vector_type<std::uint32_t, avx2>;

  static RELPOS_INLINE floats broadcast(float x) { return _mm256_set1_ps(x); }
  static RELPOS_INLINE ints broadcast(std::int32_t x) {
    return reinterpret_cast<ints>(_mm256_set1_epi32(x));
  }
  static RELPOS_INLINE words broadcast(std::uint32_t x) {
    return reinterpret_cast<words>(broadcast(static_cast<std::int32_t>(x)));
  }
  static RELPOS_INLINE floats fma(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
  static RELPOS_INLINE floats max(floats a, floats b) { return _mm256_max_ps(a, b); }
  static RELPOS_INLINE floats min(floats a, floats b) { return _mm256_min_ps(a, b); }
  static RELPOS_INLINE floats floor(floats x) {
    return _mm256_round_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  }
  static RELPOS_INLINE bool any(ints condition) {
    return _mm256_movemask_ps(reinterpret_cast<floats>(condition)) != 0;
  }
  static RELPOS_INLINE floats load(const bfloat16* source) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    return reinterpret_cast<floats>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static RELPOS_INLINE floats load(const half* source) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(source)));
  }
  static RELPOS_INLINE floats load(const int8* source) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(source))));
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
