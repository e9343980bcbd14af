#pragma once
// The refusal that every policy with a number per head shares.

#include <cmath>
#include <limits>

#include "relpos/core/named_data.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses `data` that is not one number per query head. `policy` has it as `name`.
inline status check_per_head(const char* policy, const char* name, named_data data,
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

/// Refuses one of these numbers that is not finite, or, where `infinity_hides`, not -inf either.
inline status check_finite_per_head(const char* policy, const char* name, named_data data,
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
