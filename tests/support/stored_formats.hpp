#pragma once
// The 16-bit formats as IEEE 754 defines them, in double arithmetic and without a look at bits of
// floats.

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "relpos/core/float8.hpp"
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
  result.bits = static_cast<decltype(result.bits)>(bits);
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

/// The number of a code of OFP8: e4m3 has one NaN of each sign and no infinity, e5m2 has both.
template <class Stored>
double float8_meaning(std::uint32_t code) {
  constexpr bool is_e4m3 = std::is_same_v<Stored, relpos::float8_e4m3>;
  constexpr int mantissa_bits = is_e4m3 ? 3 : 2;
  constexpr int bias = is_e4m3 ? 7 : 15;
  const double sign = code & 0x80u ? -1.0 : 1.0;
  const std::uint32_t magnitude = code & 0x7fu;
  if (is_e4m3 && magnitude == 0x7fu) return std::numeric_limits<double>::quiet_NaN();
  if (!is_e4m3 && magnitude == 0x7cu) return sign * INFINITY;
  if (!is_e4m3 && magnitude > 0x7cu) return std::numeric_limits<double>::quiet_NaN();
  const auto exponent = static_cast<int>(magnitude >> mantissa_bits);
  const auto mantissa = static_cast<int>(magnitude & ((1u << mantissa_bits) - 1));
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

/// The numbers of float8, from zero to the largest.
template <class Stored>
std::vector<double> float8_numbers() {
  std::vector<double> result;
  for (std::uint32_t code = 0; std::isfinite(float8_meaning<Stored>(code)); ++code) {
    result.push_back(float8_meaning<Stored>(code));
  }
  return result;
}

}  // namespace support
