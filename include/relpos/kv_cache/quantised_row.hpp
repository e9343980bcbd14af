#pragma once
// A row of floats as int8 with one scale: scale = max |x| / 127, rounded to nearest, and each x
// becomes x / scale, rounded to the nearest integer, ties to even. A row whose largest magnitude is
// below 2^-118 becomes zeros with a scale of 0.
//
// The bits are the same in every mode of the floating-point unit. The scale is computed in integers
// and is never subnormal, and a subnormal x is less than half a scale: flushing denormals to zero
// changes nothing. Quotients may be rounded in any direction, because the multiple of the scale is
// compared with x in double, where both are exact.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "relpos/core/index.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The scale of a row whose largest magnitude has the bits `largest`; NaN if this magnitude is not
/// finite, so that the row is read as NaN.
constexpr float quantised_scale(std::uint32_t largest) {
  constexpr std::uint32_t least = 0x04800000u;  // 2^-118
  if (largest >= 0x7f800000u) return std::numeric_limits<float>::quiet_NaN();
  if (largest < least) return 0.0f;
  const std::uint32_t mantissa = (largest & 0x007fffffu) | 0x00800000u;
  // The shift gives the quotient a mantissa of 24 bits. 127 is odd, so no quotient is halfway
  // between two mantissas.
  const std::uint32_t shift = mantissa < (127u << 17) ? 7 : 6;
  const std::uint32_t quotient = ((mantissa << shift) + 63u) / 127u;
  return std::bit_cast<float>((((largest >> 23) - shift) << 23) + (quotient - 0x00800000u));
}

/// Returns x / scale, rounded to the nearest integer, ties to even. |x| is at most 127.5 scales.
RELPOS_INLINE int8 quantised(float x, float scale) {
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
  std::int32_t largest = 0;
  for (index_t c = 0; c < channels; ++c) {
    largest = std::max(largest, std::bit_cast<std::int32_t>(source[c]) & 0x7fffffff);
  }
  const float scale = quantised_scale(static_cast<std::uint32_t>(largest));
  if (scale > 0.0f) {
    for (index_t c = 0; c < channels; ++c) out[c] = quantised(source[c], scale);
  } else {
    for (index_t c = 0; c < channels; ++c) out[c] = 0;
  }
  return scale;
}

}  // namespace relpos::inline RELPOS_ABI
