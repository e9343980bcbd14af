#pragma once
// Refusals of numbers that several functions and policies share.

#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses an offset of positions that could overflow. `name` is the argument's.
inline status check_offset(const char* name, index offset) {
  if (-max_offset <= offset && offset <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: must be within +-2^60", name);
}

/// Refuses a number of positions below `least` or beyond what offsets can be. `policy` has it as `name`.
inline status check_extent(const char* policy, const char* name, index extent, index least) {
  if (least <= extent && extent <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: %s is %lld, must be %lld to 2^60", policy,
                       name, static_cast<long long>(extent), static_cast<long long>(least));
}

}  // namespace relpos::inline RELPOS_ABI
