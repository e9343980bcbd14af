#pragma once
// Sizes, strides and positions are signed 64-bit everywhere: lengths x strides pass 2^31 in
// ordinary use, and position differences are negative half of the time.

#include <cstdint>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup tensors
/// @{

/// The type of sizes, strides and positions.
///
/// Not `index`: POSIX has a function of that name, which `<cstring>` may declare.
using index_t = std::int64_t;

/// @deprecated Renamed to index_t.
using index [[deprecated("relpos: renamed to index_t")]] = index_t;

/// @}

/// @addtogroup own_policies
/// @{

/// Quotient rounded towards minus infinity. `divisor` > 0.
constexpr index_t floor_div(index_t value, index_t divisor) {
  return value / divisor - (value % divisor < 0 ? 1 : 0);
}

/// @}

/// Quotient rounded towards plus infinity. `value` >= 0, `divisor` > 0.
constexpr index_t ceil_div(index_t value, index_t divisor) {
  return (value + divisor - 1) / divisor;
}

}  // namespace relpos::inline RELPOS_ABI
