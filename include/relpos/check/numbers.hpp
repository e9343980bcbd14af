#pragma once
// Refusals of numbers that several functions and policies share.

#include "relpos/core/named_data.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses an offset of positions that could overflow. `name` is the argument's.
inline status check_offset(const char* name, index_t offset) {
  if (-max_offset <= offset && offset <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: is %lld, must be within +-2^60", name,
                       static_cast<long long>(offset));
}

/// Refuses a number of positions below `least` or beyond what offsets can be. `policy` has it as `name`.
inline status check_extent(const char* policy, const char* name, index_t extent, index_t least) {
  if (least <= extent && extent <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: %s is %lld, must be %lld to 2^60", policy,
                       name, static_cast<long long>(extent), static_cast<long long>(least));
}

/// Refuses positions that are null, or one beyond what offsets can be. `policy` has them as `name`.
inline status check_positions_of(const char* policy, const char* name,
                                 const named_values<index_t>& data, index_t least) {
  if (data.data == nullptr && data.size > 0) {
    return status::error(status_code::null_data, "%s: %s are null, %lld of them", policy, name,
                         static_cast<long long>(data.size));
  }
  for (index_t i = 0; i < data.size; ++i) {
    if (least <= data.data[i] && data.data[i] <= max_offset) continue;
    return status::error(status_code::invalid_value, "%s: %s have %lld at %lld, must be %s to 2^60",
                         policy, name, static_cast<long long>(data.data[i]),
                         static_cast<long long>(i), least == -max_offset ? "-2^60" : "0");
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
