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

/// The code of mantissa 2^(exponent - 150), for a mantissa of 24 bits or fewer, without a largest
/// code. The leading bit of a mantissa with fewer bits is found first.
template <int MantissaBits, int Bias>
constexpr std::uint32_t float8_code(std::uint32_t mantissa, int exponent) {
  if (mantissa == 0) return 0;
  const int missing = std::countl_zero(mantissa) - 8;
  mantissa <<= missing;
  exponent -= missing;
  constexpr int least_normal = 128 - Bias;
  if (exponent >= least_normal) {
    const auto rebiased = static_cast<std::uint32_t>(exponent - (least_normal - 1)) << 23;
    return shift_right_to_nearest(rebiased + (mantissa & 0x007fffffu), 23 - MantissaBits);
  }
  // Subnormal: steps of 2^(1 - Bias - MantissaBits).
  const int shift = 23 - MantissaBits + (least_normal - exponent);
  return shift > 24 ? 0 : shift_right_to_nearest(mantissa, static_cast<unsigned>(shift));
}

/// The code of a finite magnitude, given as the bits of a float, over 2^power.
template <int MantissaBits, int Bias>
constexpr std::uint32_t float8_code_of(std::uint32_t magnitude, int power) {
  const bool is_normal = magnitude >= 0x00800000u;
  const std::uint32_t mantissa = magnitude & 0x007fffffu;
  const int exponent = is_normal ? static_cast<int>(magnitude >> 23) : 1;
  return float8_code<MantissaBits, Bias>(is_normal ? mantissa | 0x00800000u : mantissa,
                                         exponent - power);
}

/// @addtogroup storage
/// @{

/// Storage of a cache only: 1 sign, 4 exponent, 3 mantissa bits; largest value 448; NaN but no
/// infinity.
///
/// @copydoc float8.hpp
struct RELPOS_MAY_ALIAS float8_e4m3 {
  std::uint8_t bits = 0;  ///< the code of OFP8

  /// Zero.
  constexpr float8_e4m3() = default;
  /// The nearest number, ties to even.
  constexpr explicit float8_e4m3(float value) : float8_e4m3(value, 0) {}
  /// value / 2^power, rounded once.
  constexpr float8_e4m3(float value, int power) {
    constexpr std::uint32_t nan = 0x7f;
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = whole & 0x7fffffffu;
    const std::uint32_t code =
        magnitude < 0x7f800000u ? float8_code_of<3, 7>(magnitude, power) : nan;
    bits = static_cast<std::uint8_t>((whole >> 24 & 0x80u) | (code < nan ? code : nan));
  }
  /// Exact.
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

/// Storage of a cache only: 1 sign, 5 exponent, 2 mantissa bits: the upper half of a `half`;
/// largest value 57344.
///
/// @copydoc float8.hpp
struct RELPOS_MAY_ALIAS float8_e5m2 {
  std::uint8_t bits = 0;  ///< the code of OFP8

  /// Zero.
  constexpr float8_e5m2() = default;
  /// The nearest number, ties to even.
  constexpr explicit float8_e5m2(float value) : float8_e5m2(value, 0) {}
  /// value / 2^power, rounded once.
  constexpr float8_e5m2(float value, int power) {
    constexpr std::uint32_t infinity = 0x7c;
    constexpr std::uint32_t nan = 0x7e;
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t magnitude = whole & 0x7fffffffu;
    std::uint32_t code = nan;
    if (magnitude <= 0x7f800000u) {
      code = magnitude < 0x7f800000u ? float8_code_of<2, 15>(magnitude, power) : infinity;
      if (code > infinity) code = infinity;
    }
    bits = static_cast<std::uint8_t>((whole >> 24 & 0x80u) | code);
  }
  /// Exact.
  constexpr explicit operator float() const {
    half upper;
    upper.bits = static_cast<std::uint16_t>(bits << 8);
    return static_cast<float>(upper);
  }
};

/// @}

/// @cond
template <>
struct storage_traits<float8_e4m3> {
  static constexpr bool is_tensor = false;
  static constexpr bool is_scaled = true;
  static constexpr bool is_always_finite = false;
  static constexpr std::uint32_t largest_bits = 0x43e00000u;  // of 448, as a float

  /// The formula of float8_e4m3::operator float.
  template <class Pack>
  static RELPOS_INLINE Pack load(const float8_e4m3* source) {
    using words = typename Pack::template same_lanes<std::uint32_t>;
    const words code = words::of_bytes(reinterpret_cast<const std::uint8_t*>(source));
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
  static constexpr std::uint32_t largest_bits = 0x47600000u;  // of 57344, as a float

  template <class Pack>
  static RELPOS_INLINE Pack load(const float8_e5m2* source) {
    half upper[Pack::size];
    for (int i = 0; i < Pack::size; ++i) {
      upper[i].bits = static_cast<std::uint16_t>(source[i].bits << 8);
    }
    return Pack::load(upper);
  }
};

/// @endcond

}  // namespace relpos::inline RELPOS_ABI
