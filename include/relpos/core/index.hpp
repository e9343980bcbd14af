#pragma once
// Sizes, strides and positions are signed 64-bit everywhere: lengths x strides pass 2^31 in
// ordinary use, and position differences are negative half of the time.

#include <cstdint>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

using index = std::int64_t;

/// Quotient rounded towards minus infinity. `divisor` > 0.
constexpr index floor_div(index value, index divisor) {
  return value / divisor - (value % divisor < 0 ? 1 : 0);
}

/// Quotient rounded towards plus infinity. `value` >= 0, `divisor` > 0.
constexpr index ceil_div(index value, index divisor) { return (value + divisor - 1) / divisor; }

}  // namespace relpos::inline RELPOS_ABI
