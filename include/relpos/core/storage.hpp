#pragma once
// Storage types of q, k, v and out: float, and two 16-bit formats that exist in memory only.
// Arithmetic is float32. Bit-compatible with Eigen's, CUDA's and C23's types of the same names, whose
// memory they may read and write.
// Conversion to 16 bits rounds to nearest, ties to even; NaN stays NaN.

#include <bit>
#include <concepts>
#include <cstdint>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// 1 sign, 8 exponent, 7 mantissa bits: the upper half of a float.
struct RELPOS_MAY_ALIAS bfloat16 {
  std::uint16_t bits = 0;

  constexpr bfloat16() = default;
  constexpr explicit bfloat16(float value) {
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (whole & 0x7fffffffu) > 0x7f800000u;
    const std::uint32_t rounded = whole + 0x7fffu + ((whole >> 16) & 1u);
    bits = static_cast<std::uint16_t>((is_nan ? whole | 0x00400000u : rounded) >> 16);
  }
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits; largest finite value 65504.
struct RELPOS_MAY_ALIAS half {
  std::uint16_t bits = 0;

  constexpr half() = default;
  constexpr explicit half(float value) {
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((whole >> 16) & 0x8000u);
    const std::uint32_t magnitude = whole & 0x7fffffffu;
    std::uint32_t result = 0;
    if (magnitude > 0x7f800000u) {
      result = 0x7e00u;
    } else if (magnitude >= 0x477ff000u) {  // rounds past 65504
      result = 0x7c00u;
    } else if (magnitude >= 0x38800000u) {  // normal: rebias the exponent by 127 - 15
      result = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    } else {
      // Subnormal half: adding 0.5 puts the unit of its last place where float32 rounds.
      const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
      result = std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u;
    }
    bits = static_cast<std::uint16_t>(sign | result);
  }
  constexpr explicit operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t magnitude = bits & 0x7fffu;
    if (magnitude >= 0x7c00u) {
      return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
    }
    // Multiplying by 2^112 rebiases the exponent, and normalises subnormals on the way.
    const float value = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
  }
};

/// Of a cache: 8 bits with a scale per row.
using int8 = std::int8_t;

template <class T>
concept storage = std::same_as<T, float> || std::same_as<T, bfloat16> || std::same_as<T, half>;

template <class T>
concept cache_storage = storage<T> || std::same_as<T, int8>;

}  // namespace relpos::inline RELPOS_ABI
