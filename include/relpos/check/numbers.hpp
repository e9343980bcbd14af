#pragma once
// Checks of numbers that several functions and policies share.

#include <cmath>
#include <limits>

#include "relpos/core/borrowed_data.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses an offset beyond +-2^60: positions could overflow. `name` is the argument's name.
inline status check_offset(const char* name, index_t offset) {
  if (-max_offset <= offset && offset <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: is %lld, must be within +-2^60", name,
                       static_cast<long long>(offset));
}

/// Refuses a number of positions outside [`least`, 2^60]. Messages call it `name` of `policy`.
inline status check_extent(const char* policy, const char* name, index_t extent, index_t least) {
  if (least <= extent && extent <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: %s is %lld, must be %lld to 2^60", policy,
                       name, static_cast<long long>(extent), static_cast<long long>(least));
}

/// Refuses positions that are null, or one outside [`least`, 2^60]; `least` is 0 or -2^60. Messages
/// call them `name` of `policy`.
inline status check_positions_of(const char* policy, const char* name,
                                 const borrowed_values<index_t>& data, index_t least) {
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

/// Refuses `data` that is not one number per query head. Messages call it `name` of `policy`.
inline status check_per_head(const char* policy, const char* name, borrowed_data data,
                             const attention_shape& shape) {
  const auto heads = static_cast<long long>(shape.query_heads);
  if (data.size != shape.query_heads) {
    return status::error(status_code::invalid_shape, "%s: %lld %s for a query of %lld heads",
                         policy, static_cast<long long>(data.size), name, heads);
  }
  if (data.data == nullptr && data.size > 0) {
    return status::error(status_code::null_data, "%s: %s are null for a query of %lld heads",
                         policy, name, heads);
  }
  return {};
}

/// Refuses `data` with a number that is NaN or larger than `largest` in magnitude. With
/// `infinity_hides`, -inf is accepted.
inline status check_finite_per_head(const char* policy, const char* name, borrowed_data data,
                                    float largest, bool infinity_hides = false) {
  for (index_t head = 0; head < data.size; ++head) {
    const float value = data.data[head];
    if (std::abs(value) <= largest) continue;
    if (infinity_hides && value == -std::numeric_limits<float>::infinity()) continue;
    return status::error(
        status_code::invalid_value, "%s: %s have %g for head %lld, must be finite%s", policy, name,
        static_cast<double>(value), static_cast<long long>(head), infinity_hides ? " or -inf" : "");
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
