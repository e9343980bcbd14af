#pragma once
// The 8-bit floating-point formats of the OCP (OFP8, revision 1.0), for rows of caches with a scale
// each.
//
//   float8_e4m3   1 sign, 4 exponent, 3 mantissa bits; largest value 448; no infinity, and one NaN
//                 of each sign
//   float8_e5m2   1 sign, 5 exponent, 2 mantissa bits: the upper half of a `half`; largest value
//                 57344
//
// Conversion from float rounds to nearest, ties to even. A number that rounds past the largest
// value becomes NaN in e4m3, infinity in e5m2. Conversions have the same bits in every mode of the
// floating-point unit.

#include <bit>
#include <cstdint>

#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The code of a magnitude, given as the bits of a float, without a largest code.
template <int MantissaBits, int Bias>
constexpr std::uint32_t float8_code(std::uint32_t magnitude) {
  constexpr std::uint32_t least_normal = 128 - Bias;  // its exponent in a float
  const std::uint32_t exponent = magnitude >> 23;
  if (exponent >= least_normal) {
    return shift_right_to_nearest(magnitude - ((least_normal - 1) << 23), 23 - MantissaBits);
  }
  // Subnormal: the mantissa in steps of 2^(1 - Bias - MantissaBits).
  const std::uint32_t shift = 23 - MantissaBits + (least_normal - exponent);
  if (shift > 24) return 0;
  return shift_right_to_nearest((magnitude & 0x007fffffu) | 0x00800000u, shift);
}

struct RELPOS_MAY_ALIAS float8_e4m3 {
  std::uint8_t bits = 0;

  constexpr float8_e4m3() = default;
  constexpr explicit float8_e4m3(float value) {
    constexpr std::uint32_t nan = 0x7f;
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = whole & 0x7fffffffu;
    const std::uint32_t code = magnitude < 0x7f800000u ? float8_code<3, 7>(magnitude) : nan;
    bits = static_cast<std::uint8_t>((whole >> 24 & 0x80u) | (code < nan ? code : nan));
  }
  constexpr explicit operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x80u) << 24;
    const std::uint32_t magnitude = bits & 0x7fu;
    const float steps = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-9f;
    const std::uint32_t normal =
        magnitude == 0x7fu ? 0x7fc00000u : (magnitude << 20) + (120u << 23);
    return std::bit_cast<float>(sign |
                                (magnitude < 0x08u ? std::bit_cast<std::uint32_t>(steps) : normal));
  }
};

struct RELPOS_MAY_ALIAS float8_e5m2 {
  std::uint8_t bits = 0;

  constexpr float8_e5m2() = default;
  constexpr explicit float8_e5m2(float value) {
    constexpr std::uint32_t infinity = 0x7c;
    constexpr std::uint32_t nan = 0x7e;
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = whole & 0x7fffffffu;
    std::uint32_t code = nan;
    if (magnitude <= 0x7f800000u) {
      code = magnitude < 0x7f800000u ? float8_code<2, 15>(magnitude) : infinity;
      if (code > infinity) code = infinity;
    }
    bits = static_cast<std::uint8_t>((whole >> 24 & 0x80u) | code);
  }
  constexpr explicit operator float() const {
    half upper;
    upper.bits = static_cast<std::uint16_t>(bits << 8);
    return static_cast<float>(upper);
  }
};

template <>
struct storage_traits<float8_e4m3> {
  static constexpr bool is_tensor = false;
  static constexpr bool is_scaled = true;
  static constexpr bool is_always_finite = false;
  static constexpr std::uint32_t largest = 0x43e00000u;  // 448

  /// The formula of float8_e4m3::operator float.
  template <class Pack>
  static RELPOS_INLINE Pack load(const float8_e4m3* source) {
    using words = typename Pack::template same_lanes<std::uint32_t>;
    std::uint32_t codes[Pack::size];
    for (int i = 0; i < Pack::size; ++i) codes[i] = source[i].bits;
    const words code = words::load(codes);
    const words magnitude = code & words(0x7fu);
    // magnitude + 2^23, as the bits of a float
    const Pack steps = (magnitude + words(0x4b000000u)).template bits_as<float>() - Pack(0x1p23f);
    const words normal = shift_left(magnitude, 20) + words(120u << 23);
    const words number = select(magnitude == words(0x7fu), words(0x7fc00000u), normal);
    // Rounded down, a difference of zero has a sign.
    const words bits =
        select(magnitude < words(0x08u),
               (abs(steps) * Pack(0x1p-9f)).template bits_as<std::uint32_t>(), number);
    return (bits + shift_left(code & words(0x80u), 24)).template bits_as<float>();
  }
};

template <>
struct storage_traits<float8_e5m2> {
  static constexpr bool is_tensor = false;
  static constexpr bool is_scaled = true;
  static constexpr bool is_always_finite = false;
  static constexpr std::uint32_t largest = 0x47600000u;  // 57344

  template <class Pack>
  static RELPOS_INLINE Pack load(const float8_e5m2* source) {
    half upper[Pack::size];
    for (int i = 0; i < Pack::size; ++i) {
      upper[i].bits = static_cast<std::uint16_t>(source[i].bits << 8);
    }
    return Pack::load(upper);
  }
};

}  // namespace relpos::inline RELPOS_ABI
