#pragma once
// A group of channels in 4 bits (core/int4.hpp): zero is a half at or below the least number, scale
// a half at or above a 15th of the way from zero to the largest. So every number lies between two
// values of the group, and its error is at most half a scale. A group with a number that is not
// finite, or that half cannot hold, has a scale and a zero of NaN.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "relpos/core/index.hpp"
#include "relpos/core/int4.hpp"
#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The largest half that is not above x, or the least that is not below it.
inline half half_below(float x) {
  half result(x);
  if (static_cast<float>(result) <= x) return result;
  const std::uint32_t bits = result.bits;
  result.bits = static_cast<std::uint16_t>(bits == 0        ? 0x8001u
                                           : bits < 0x8000u ? bits - 1
                                                            : bits + 1);
  return result;
}
inline half half_above(float x) {
  half result = half_below(-x);
  result.bits ^= 0x8000u;
  return result;
}

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
  group.zero = half_below(least);
  const auto zero = static_cast<float>(group.zero);
  group.scale = half_above((most - zero) / 15.0f);
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
