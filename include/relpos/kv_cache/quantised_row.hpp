#pragma once
// Rows of floats in 8 bits, as multiples of scales. A row has one scale, which is found here:
//
//   int8     scale = max |x| / 127, rounded to nearest; x / scale, rounded to the nearest integer,
//            ties to even
//   float8   scale = the least power of two 2^n for which max |x| / 2^n is at most the format's
//            largest value; x / 2^n, rounded to the format. Division by a power of two is exact, so
//            x is rounded once. The precision of a floating-point number does not depend on its
//            size, so max |x| need not become the largest value.
//
// A row whose scale would be subnormal becomes zeros with a scale of 0: max |x| below 2^-118, with
// float8_e5m2 below 2^-111. A row with a number that is not finite is read as NaN.
//
// The scale of a channel is given, a normal positive number. x / scale then saturates: at 127 steps
// of int8, at the largest number of float8. NaN becomes 0 steps of int8, which has no NaN, and
// remains NaN in float8.
//
// The bits are the same in every mode of the floating-point unit. Scales of rows and float8 numbers
// are computed in integers. A subnormal x is less than half a step of an int8 row: flushing
// denormals to zero changes nothing. Quotients may be rounded in any direction, because multiples
// of the scale are compared with x in double, where both are exact.

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>

#include "relpos/core/float8.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The bits of 2^-118: int8 rows of lesser magnitudes become zeros.
inline constexpr std::uint32_t least_quantised = 0x04800000u;

/// The bits of the largest magnitude of a row.
inline std::uint32_t largest_magnitude(const float* source, index_t channels) {
  std::int32_t largest = 0;
  for (index_t c = 0; c < channels; ++c) {
    largest = std::max(largest, std::bit_cast<std::int32_t>(source[c]) & 0x7fffffff);
  }
  return static_cast<std::uint32_t>(largest);
}

/// The scale of an int8 row whose largest magnitude has the bits `largest`; NaN if this magnitude is
/// not finite, so that the row is read as NaN.
constexpr float quantised_scale(std::uint32_t largest) {
  if (largest >= 0x7f800000u) return std::numeric_limits<float>::quiet_NaN();
  if (largest < least_quantised) return 0.0f;
  const std::uint32_t mantissa = (largest & 0x007fffffu) | 0x00800000u;
  // The shift gives the quotient a mantissa of 24 bits. 127 is odd, so no quotient is halfway
  // between two mantissas.
  const std::uint32_t shift = mantissa < (127u << 17) ? 7 : 6;
  const std::uint32_t quotient = ((mantissa << shift) + 63u) / 127u;
  return std::bit_cast<float>((((largest >> 23) - shift) << 23) + (quotient - 0x00800000u));
}

/// The integer nearest to magnitude / scale, ties to even. `steps` is the quotient without its
/// fraction. In any rounding mode it is at most one too large; then magnitude is not half a scale
/// above steps * scale, but just below it, and `steps` does not grow.
RELPOS_INLINE std::int32_t nearest_steps(std::int32_t steps, double magnitude, float scale) {
  const double twice = 2.0 * magnitude;
  const double twice_middle = static_cast<double>(2 * steps + 1) * static_cast<double>(scale);
  const std::int32_t is_above = twice > twice_middle ? 1 : 0;
  const std::int32_t is_tie = twice == twice_middle ? 1 : 0;
  return steps + (is_above | (is_tie & steps));
}

/// Returns x / scale, rounded to the nearest integer, ties to even. |x| is at most 127.5 scales.
RELPOS_INLINE int8 quantised_within(float x, float scale) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  const auto magnitude = std::bit_cast<float>(bits & 0x7fffffff);
  const std::int32_t steps = nearest_steps(static_cast<std::int32_t>(magnitude / scale),
                                           static_cast<double>(magnitude), scale);
  return static_cast<int8>(bits < 0 ? -steps : steps);
}

/// Writes `channels` floats as int8, and returns their scale.
inline float quantise_row(const float* source, index_t channels, int8* out) {
  const float scale = quantised_scale(largest_magnitude(source, channels));
  if (scale > 0.0f) {
    for (index_t c = 0; c < channels; ++c) out[c] = quantised_within(source[c], scale);
  } else {
    for (index_t c = 0; c < channels; ++c) out[c] = 0;
  }
  return scale;
}

/// Writes `channels` floats as 8-bit floating-point numbers, and returns their scale.
template <class Stored>
  requires requires { storage_traits<Stored>::largest_bits; }
float quantise_row(const float* source, index_t channels, Stored* out) {
  constexpr std::uint32_t goal = storage_traits<Stored>::largest_bits;
  constexpr std::uint32_t mantissa = 0x007fffffu;
  const std::uint32_t largest = largest_magnitude(source, channels);
  const int power = static_cast<int>(largest >> 23) - static_cast<int>(goal >> 23) +
                    ((largest & mantissa) > (goal & mantissa) ? 1 : 0);
  const bool is_finite = largest < 0x7f800000u;
  const bool is_small = (largest >> 23) < (goal >> 23) - 126;
  if (!is_finite || is_small) {
    for (index_t c = 0; c < channels; ++c) out[c] = Stored();
    return is_finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  for (index_t c = 0; c < channels; ++c) out[c] = Stored(source[c], power);
  return std::bit_cast<float>(static_cast<std::uint32_t>(127 + power) << 23);
}

/// The magnitude of a finite float, subnormal or not, in every mode of the floating-point unit.
inline double exact_magnitude(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x) & 0x7fffffffu;
  if (bits >= 0x00800000u) return static_cast<double>(std::bit_cast<float>(bits));
  return static_cast<double>(bits) * 0x1p-149;
}

/// x / scale as a number of `Stored`, for the scale of a channel.
template <class Stored>
Stored quantised(float x, float scale) {
  const bool is_negative = std::signbit(x);
  const double magnitude = exact_magnitude(x);
  const double quotient = magnitude / static_cast<double>(scale);
  if constexpr (std::same_as<Stored, int8>) {
    if (std::isnan(x)) return 0;
    if (quotient >= 127.0) return static_cast<int8>(is_negative ? -127 : 127);
    const std::int32_t steps = nearest_steps(static_cast<std::int32_t>(quotient), magnitude, scale);
    return static_cast<int8>(is_negative ? -steps : steps);
  } else {
    constexpr auto largest = std::bit_cast<float>(storage_traits<Stored>::largest_bits);
    if (std::isnan(x)) return Stored(x);
    if (quotient >= static_cast<double>(largest)) return Stored(is_negative ? -largest : largest);
    // The first 24 bits of the quotient, the last of which is 1 if others follow: rounded again, it
    // is on the same side of every middle of two numbers as the quotient.
    const auto bits = std::bit_cast<std::uint64_t>(quotient);
    if (bits == 0) return Stored(is_negative ? -0.0f : 0.0f);
    const auto upper = static_cast<std::uint32_t>((bits >> 29 & 0x007fffffu) | 0x00800000u);
    const std::uint32_t rest = (bits & 0x1fffffffu) != 0 ? 1u : 0u;
    // mantissa 2^(exponent - 1075 + 29), as a float over a power of two
    const int exponent = static_cast<int>(bits >> 52) - 1046;
    const auto number = static_cast<float>(static_cast<std::int32_t>(upper | rest));
    return Stored(is_negative ? -number : number, -exponent);
  }
}

}  // namespace relpos::inline RELPOS_ABI
