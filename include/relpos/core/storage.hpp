#pragma once
// Storage types of q, k, v and out: float, and two 16-bit formats. Arithmetic is float32, except
// for products of bfloat16 where a call asks for them (options.arithmetic). The 16-bit formats are
// bit-compatible with the types of the same names of Eigen, CUDA and C23, and may read and write
// the memory of those types.
//
// Conversion to 16 bits rounds to nearest, ties to even; NaN stays NaN. Conversions in both
// directions return the same bits in every mode of the floating-point unit: with denormals kept or
// flushed to zero, and under any rounding mode.

#include <bit>
#include <cstdint>

#include "relpos/config.hpp"
#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// value / 2^bits, rounded to nearest, ties to even.
constexpr std::uint32_t shift_right_to_nearest(std::uint32_t value, unsigned bits) {
  const std::uint32_t below_half = (1u << (bits - 1)) - 1;
  return (value + below_half + ((value >> bits) & 1u)) >> bits;
}

/// @addtogroup storage
/// @{

/// 1 sign, 8 exponent, 7 mantissa bits: the upper half of a float.
///
/// @copydoc storage.hpp
struct RELPOS_MAY_ALIAS bfloat16 {
  std::uint16_t bits = 0;  ///< sign, exponent and mantissa

  /// Zero.
  constexpr bfloat16() = default;
  /// The nearest number, ties to even.
  constexpr explicit bfloat16(float value) {
    const auto whole = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (whole & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(is_nan ? (whole | 0x00400000u) >> 16
                                             : shift_right_to_nearest(whole, 16));
  }
  /// Exact.
  constexpr explicit operator float() const {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
};

/// IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits; largest finite value 65504.
///
/// @copydoc storage.hpp
struct RELPOS_MAY_ALIAS half {
  std::uint16_t bits = 0;  ///< sign, exponent and mantissa

  /// Zero.
  constexpr half() = default;
  /// The nearest number, ties to even.
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
      result = shift_right_to_nearest(magnitude - 0x38000000u, 13);
    } else if (magnitude >= 0x33000000u) {  // subnormal: the mantissa in steps of 2^-24
      const std::uint32_t mantissa = (magnitude & 0x007fffffu) | 0x00800000u;
      result = shift_right_to_nearest(mantissa, 126u - (magnitude >> 23));
    }
    bits = static_cast<std::uint16_t>(sign | result);
  }
  /// Exact.
  constexpr explicit operator float() const {
    const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
    const std::uint32_t magnitude = bits & 0x7fffu;
    // Subnormal: a number of steps, whose product with 2^-24 is exact.
    const float steps = static_cast<float>(static_cast<std::int32_t>(magnitude)) * 0x1p-24f;
    // Others: rebias the exponent by 127 - 15. Infinity and NaN are rebiased once more, to the
    // largest exponent, and NaN becomes quiet.
    const std::uint32_t special = magnitude >= 0x7c00u ? 0x38000000u : 0u;
    const std::uint32_t quiet = magnitude > 0x7c00u ? 0x00400000u : 0u;
    const std::uint32_t rebiased = ((magnitude << 13) + 0x38000000u + special) | quiet;
    return std::bit_cast<float>(
        sign | (magnitude < 0x0400u ? std::bit_cast<std::uint32_t>(steps) : rebiased));
  }
};

/// Storage of a cache only: 8 bits, with a scale per row.
using int8 = std::int8_t;

/// The properties of a storage type, to be specialised for a type of your own.
///
/// core/float8.hpp has an example. A type whose elements are numbers also converts to float, and
/// from float. kv_cache/quantised_row.hpp writes scaled rows, kv_cache/quantised_group.hpp groups
/// of channels.
///
///   is_tensor         whether q, k, v and out may hold it; otherwise caches alone
///   is_scaled         whether each row of a cache has a scale, a float
///   is_always_finite  whether it has no infinity and no NaN
///   load<Pack>(source)
///                     a Pack of floats (simd/pack.hpp), for instruction sets that have no
///                     conversion of the type
///   channels          the number of channels of an element, if more than one (core/int4.hpp); then
///                     load<Pack>(row, channel), and no scale of the row
///   largest_bits      the largest number, as the bits of a float, of a scaled floating-point type
template <class T>
struct storage_traits;

/// @}

/// @cond
template <>
struct storage_traits<float> {
  static constexpr bool is_tensor = true;
  static constexpr bool is_scaled = false;
  static constexpr bool is_always_finite = false;
};
template <>
struct storage_traits<bfloat16> : storage_traits<float> {};
template <>
struct storage_traits<half> : storage_traits<float> {};
template <>
struct storage_traits<int8> {
  static constexpr bool is_tensor = false;
  static constexpr bool is_scaled = true;
  static constexpr bool is_always_finite = true;
};

/// @endcond

/// @addtogroup storage
/// @{

/// A type that caches can hold: float, bfloat16, half, int8, float8_e4m3, float8_e5m2, int4_group.
template <class T>
concept cache_storage = requires { storage_traits<T>::is_scaled; };

/// A type that q, k, v and out can hold: float, bfloat16, half.
template <class T>
concept storage = cache_storage<T> && storage_traits<T>::is_tensor;

/// @}

/// A storage type whose elements hold several channels each.
template <class T>
concept grouped_storage = cache_storage<T> && requires { storage_traits<T>::channels; };

/// The number of channels of an element.
template <cache_storage T>
inline constexpr index_t channels_of_element = [] {
  if constexpr (grouped_storage<T>) {
    return static_cast<index_t>(storage_traits<T>::channels);
  } else {
    return index_t{1};
  }
}();

/// The bytes of a row of `channels` channels, whole elements.
template <cache_storage T>
constexpr index_t bytes_of_row(index_t channels) {
  return channels / channels_of_element<T> * static_cast<index_t>(sizeof(T));
}

}  // namespace relpos::inline RELPOS_ABI
