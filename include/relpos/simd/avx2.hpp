#pragma once
// AVX2 with FMA and F16C: the operations that the vector extensions lack.

#include "relpos/core/float8.hpp"
#include "relpos/core/int4.hpp"
#include "relpos/simd/block_ops.hpp"
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
  static RELPOS_INLINE floats broadcast(const half& x) {
    return _mm256_cvtph_ps(_mm_set1_epi16(static_cast<short>(x.bits)));
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
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight_bytes(source)));
  }
  static RELPOS_INLINE floats load(const float8_e5m2* source) {
    return _mm256_cvtph_ps(_mm_unpacklo_epi8(_mm_setzero_si128(), eight_bytes(source)));
  }
  // GCC 12 widens vectors of bytes one by one.
  static RELPOS_INLINE words load(const std::uint8_t* source) {
    return reinterpret_cast<words>(_mm256_cvtepu8_epi32(eight_bytes(source)));
  }

 private:
  static RELPOS_INLINE __m128i eight_bytes(const void* source) {
    return _mm_loadl_epi64(static_cast<const __m128i*>(source));
  }
};

/// A half whose bits hold the magnitude is the number over 256: its exponent has another bias.
template <>
struct block_ops<avx2, float8_e4m3> {
  static constexpr int vectors = 2;

  static RELPOS_INLINE void load(const float8_e4m3* source, pack<float, avx2>* out) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(source));
    // Bits 13 to 7 are the magnitude, bits 15 and 14 the sign.
    const __m256i moved = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
    const __m256i magnitude = _mm256_set1_epi16(0x3f80);
    const __m256i is_nan = _mm256_cmpeq_epi16(_mm256_and_si256(moved, magnitude), magnitude);
    const __m256i nan = _mm256_and_si256(is_nan, _mm256_set1_epi16(0x3f80 ^ 0x7e00));
    const __m256i halves = _mm256_xor_si256(
        _mm256_and_si256(moved, _mm256_set1_epi16(static_cast<short>(0xbfff))), nan);
    const auto floats = [](__m128i eight) RELPOS_LAMBDA {
      return pack<float, avx2>(_mm256_mul_ps(_mm256_cvtph_ps(eight), _mm256_set1_ps(256.0f)));
    };
    out[0] = floats(_mm256_castsi256_si128(halves));
    out[1] = floats(_mm256_extracti128_si256(halves, 1));
  }
};

/// Groups of 4 bits: each byte has a channel of the lower half and one of the upper.
template <int Channels>
struct block_ops<avx2, int4_group<Channels>> {
  static constexpr int vectors = Channels / 8;

  static RELPOS_INLINE void load(const int4_group<Channels>* group, pack<float, avx2>* out) {
    const __m128 factors = _mm_cvtph_ps(_mm_loadu_si32(group));
    const __m256 scale = _mm256_broadcastss_ps(factors);
    const __m256 zero = _mm256_broadcastss_ps(_mm_movehdup_ps(factors));
    const auto value = [&](__m256i codes) RELPOS_LAMBDA {
      return pack<float, avx2>(_mm256_fmadd_ps(_mm256_cvtepi32_ps(codes), scale, zero));
    };
    RELPOS_UNROLL
    for (int v = 0; v < vectors / 2; ++v) {
      const auto bytes = reinterpret_cast<__m256i>(vector_ops<avx2>::load(group->codes + 8 * v));
      out[v] = value(_mm256_and_si256(bytes, _mm256_set1_epi32(15)));
      out[v + vectors / 2] = value(_mm256_srli_epi32(bytes, 4));
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
