#pragma once
// What IEEE 754 says of the 16-bit formats, in double arithmetic and without a look at bits of
// floats.

#include <cmath>
#include <cstdint>
#include <limits>

#include "relpos/core/storage.hpp"

namespace support {

template <class Storage>
struct format;

template <>
struct format<relpos::bfloat16> {
  static constexpr int mantissa_bits = 7;
  static constexpr int bias = 127;
};

template <>
struct format<relpos::half> {
  static constexpr int mantissa_bits = 10;
  static constexpr int bias = 15;
};

template <class Storage>
Storage from_bits(std::uint32_t bits) {
  Storage result;
  result.bits = static_cast<std::uint16_t>(bits);
  return result;
}

template <class Storage>
double meaning(std::uint32_t bits) {
  constexpr int mantissa_bits = format<Storage>::mantissa_bits;
  constexpr int exponents = 1 << (15 - mantissa_bits);
  const double sign = bits & 0x8000u ? -1.0 : 1.0;
  const int exponent = static_cast<int>((bits & 0x7fffu) >> mantissa_bits);
  const int mantissa = static_cast<int>(bits & ((1u << mantissa_bits) - 1));
  if (exponent == exponents - 1) {
    return mantissa == 0 ? sign * INFINITY : std::numeric_limits<double>::quiet_NaN();
  }
  const int lowest = 1 - format<Storage>::bias - mantissa_bits;
  if (exponent == 0) return sign * std::ldexp(mantissa, lowest);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), lowest + exponent - 1);
}

}  // namespace support
