#pragma once
// A row of floats in 8 bits, with one scale. A row whose largest magnitude is below 2^-118 becomes
// zeros with a scale of 0; a row with a number that is not finite is read as NaN.
//
// The scale of a row is found, the scale of a channel is given:
//
//   int8     scale = max |x| / 127, rounded to nearest; x / scale, rounded to the nearest integer,
//            ties to even
//   float8   scale = the least power of two 2^n for which max |x| / 2^n is at most the format's
//            largest value; x / 2^n, rounded to the format. Division by a power of two is exact, so
//            x is rounded once. The precision of a floating-point number does not depend on its
//            size, so max |x| need not become the largest value.
//
//   int4     a scale and a zero point for each group of channels (core/int4.hpp), in half; codes are
//            rounded to nearest, in the default mode of the floating-point unit
//
// With the scale of a channel, x / scale saturates: at 127 steps of int8, at the largest number of
// float8. NaN becomes 0 steps of int8, which has no NaN, and remains NaN in float8.
//
// The bits are the same in every mode of the floating-point unit. Scales are computed in integers
// and are never subnormal, and a subnormal x is less than half a step: flushing denormals to zero
// changes nothing. Quotients of int8 may be rounded in any direction, because the multiple of the
// scale is compared with x in double, where both are exact.

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>

#include "relpos/core/float8.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/int4.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The bits of 2^-118: rows of lesser magnitudes become zeros.
inline constexpr std::uint32_t least_quantised = 0x04800000u;

/// The bits of the largest magnitude of a row.
inline std::uint32_t largest_magnitude(const float* source, index_t channels) {
  std::int32_t largest = 0;
  for (index_t c = 0; c < channels; ++c) {
    largest = std::max(largest, std::bit_cast<std::int32_t>(source[c]) & 0x7fffffff);
  }
  return static_cast<std::uint32_t>(largest);
}

/// The scale of an int8 row whose largest magnitude has the bits `largest`; NaN if this magnitude is not
/// finite, so that the row is read as NaN.
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

/// Returns x / scale, rounded to the nearest integer, ties to even. |x| is at most 127.5 scales.
RELPOS_INLINE int8 quantised_within(float x, float scale) {
  const auto bits = std::bit_cast<std::int32_t>(x);
  const auto magnitude = std::bit_cast<float>(bits & 0x7fffffff);
  // In any rounding mode, `steps` is at most one too large. In that case x is not half a scale
  // above steps * scale, but just below it, so the comparisons below do not increase `steps`.
  auto steps = static_cast<std::int32_t>(magnitude / scale);
  const double twice = 2.0 * static_cast<double>(magnitude);
  const double twice_middle = static_cast<double>(2 * steps + 1) * static_cast<double>(scale);
  const std::int32_t is_above = twice > twice_middle ? 1 : 0;
  const std::int32_t is_tie = twice == twice_middle ? 1 : 0;
  steps += is_above | (is_tie & steps);
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

/// The scale of a float8 row whose largest magnitude has the bits `largest`, and its inverse, which
/// is 0 if the row becomes zeros.
struct float8_scale {
  float scale = 0.0f;
  float inverse = 0.0f;

  /// `goal`: the bits of the format's largest number.
  static constexpr float8_scale of(std::uint32_t largest, std::uint32_t goal) {
    constexpr std::uint32_t mantissa = 0x007fffffu;
    if (largest >= 0x7f800000u) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
    if (largest < least_quantised) return {};
    const std::uint32_t above = (largest & mantissa) > (goal & mantissa) ? 1 : 0;
    const std::uint32_t exponent = (largest >> 23) - (goal >> 23) + above;  // modulo 2^32
    return {std::bit_cast<float>((127 + exponent) << 23),
            std::bit_cast<float>((127 - exponent) << 23)};
  }
};

/// Writes `channels` floats as 8-bit floating-point numbers, and returns their scale.
template <class Stored>
  requires requires { storage_traits<Stored>::largest; }
float quantise_row(const float* source, index_t channels, Stored* out) {
  const auto of =
      float8_scale::of(largest_magnitude(source, channels), storage_traits<Stored>::largest);
  for (index_t c = 0; c < channels; ++c) {
    out[c] = of.inverse > 0.0f ? Stored(source[c] * of.inverse) : Stored();
  }
  return of.scale;
}

/// x / scale as a number of `Stored`, for a positive scale.
template <class Stored>
Stored quantised(float x, float scale) {
  const double magnitude = std::abs(static_cast<double>(x));
  if constexpr (std::same_as<Stored, int8>) {
    if (std::isnan(x)) return 0;
    const bool saturates = magnitude >= 127.0 * static_cast<double>(scale);
    if (saturates) return static_cast<int8>(x < 0.0f ? -127 : 127);
    return quantised_within(x, scale);
  } else {
    constexpr auto largest = std::bit_cast<float>(storage_traits<Stored>::largest);
    const double quotient = magnitude / static_cast<double>(scale);
    float rounded =
        quotient < static_cast<double>(largest) ? static_cast<float>(quotient) : largest;
    // A quotient beside the middle of two numbers must not be rounded to it: its float is made odd.
    if (quotient < static_cast<double>(largest) && static_cast<double>(rounded) != quotient) {
      auto bits = std::bit_cast<std::uint32_t>(rounded);
      if (static_cast<double>(rounded) > quotient) --bits;
      rounded = std::bit_cast<float>(bits | 1u);
    }
    return Stored(std::isnan(x) ? x : std::copysign(rounded, x));
  }
}

/// A group of channels in 4 bits: zero is its least number and scale a 15th of its range, each
/// rounded to half. Zero and NaN for a number that is not finite, or if half cannot hold them.
template <grouped_storage Group>
Group quantised_group(const float* source) {
  constexpr index_t channels = storage_traits<Group>::channels;
  float least = source[0];
  float most = source[0];
  bool is_finite = true;
  for (index_t c = 0; c < channels; ++c) {
    is_finite = is_finite && std::isfinite(source[c]);
    least = std::min(least, source[c]);
    most = std::max(most, source[c]);
  }
  Group group{};
  group.zero = half(least);
  group.scale = half((most - least) / 15.0f);
  const auto zero = static_cast<float>(group.zero);
  const auto scale = static_cast<float>(group.scale);
  if (!is_finite || !std::isfinite(zero) || !std::isfinite(scale)) {
    group.zero = group.scale = half(std::numeric_limits<float>::quiet_NaN());
    return group;
  }
  for (index_t c = 0; c < channels; ++c) {
    const float steps = scale > 0.0f ? (source[c] - zero) / scale : 0.0f;
    group.set_code(c, static_cast<std::uint32_t>(std::clamp(std::nearbyint(steps), 0.0f, 15.0f)));
  }
  return group;
}

}  // namespace relpos::inline RELPOS_ABI
