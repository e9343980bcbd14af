#pragma once
// AVX512_VBMI: permutations of bytes, which look up the floats of 8-bit floating-point numbers.

#include "relpos/core/float8.hpp"
#include "relpos/simd/block_ops.hpp"
#include "relpos/simd/pack.hpp"

#if RELPOS_HAS_AVX512_VBMI

#include <immintrin.h>

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>

namespace relpos::inline RELPOS_ABI {

/// Numbers of 1 sign bit and 7 bits of magnitude whose float has at most 7 bits of mantissa: two
/// tables hold the upper bytes of the floats of all magnitudes.
template <class Stored>
  requires std::same_as<Stored, float8_e4m3> || std::same_as<Stored, float8_e5m2>
struct block_ops<avx512, Stored> {
  static constexpr int vectors = 4;

  static RELPOS_INLINE void load(const Stored* source, pack<float, avx512>* out) {
    // The unpacking below takes four numbers of each quarter of a vector.
    const __m512i places = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    constexpr __mmask16 all = 0xffff;
    constexpr __mmask64 all_bytes = ~__mmask64{0};
    const __m512i codes = _mm512_maskz_permutexvar_epi32(all, places, _mm512_loadu_si512(source));
    const auto find = [&](const table& of) RELPOS_LAMBDA {
      return _mm512_permutex2var_epi8(_mm512_loadu_si512(of.data()), codes,
                                      _mm512_loadu_si512(of.data() + 64));
    };
    // first | (codes & 0x80)
    const __m512i first = _mm512_maskz_ternarylogic_epi32(
        all, find(first_bytes), codes, _mm512_set1_epi8(static_cast<char>(0x80)), 0xf8);
    const __m512i second = find(second_bytes);
    const __m512i zero = _mm512_setzero_si512();
    const __m512i lower = _mm512_maskz_unpacklo_epi8(all_bytes, second, first);
    const __m512i upper = _mm512_maskz_unpackhi_epi8(all_bytes, second, first);
    constexpr __mmask32 all_words = ~__mmask32{0};
    const auto store = [&](int i, __m512i floats) RELPOS_LAMBDA {
      out[i] = pack<float, avx512>(reinterpret_cast<vector_type<float, avx512>>(floats));
    };
    store(0, _mm512_maskz_unpacklo_epi16(all_words, zero, lower));
    store(1, _mm512_maskz_unpackhi_epi16(all_words, zero, lower));
    store(2, _mm512_maskz_unpacklo_epi16(all_words, zero, upper));
    store(3, _mm512_maskz_unpackhi_epi16(all_words, zero, upper));
  }

 private:
  using table = std::array<std::uint8_t, 128>;
  /// The bytes of the floats of all magnitudes, `shift` bits above the lowest.
  static constexpr table bytes(unsigned shift) {
    table result{};
    for (std::size_t code = 0; code < result.size(); ++code) {
      Stored number;
      number.bits = static_cast<std::uint8_t>(code);
      const auto whole = std::bit_cast<std::uint32_t>(static_cast<float>(number));
      result[code] = static_cast<std::uint8_t>(whole >> shift);
    }
    return result;
  }
  static constexpr table first_bytes = bytes(24);
  static constexpr table second_bytes = bytes(16);
};

}  // namespace relpos::inline RELPOS_ABI

#endif
