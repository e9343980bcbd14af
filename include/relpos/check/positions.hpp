#pragma once
// Explicit positions, one per token, [axis, batch or 1, position], and their checks.

#include <tuple>

#include "relpos/call/row_positions.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

constexpr view<const index_t, 3> with_one_axis(const view<const index_t, 2>& values) {
  return {values.data,
          {1, values.shape[0], values.shape[1]},
          {0, values.strides[0], values.strides[1]}};
}

constexpr index_t explicit_position(const view<const index_t, 3>& values, index_t batch,
                                    index_t row, index_t axis) {
  return values(axis, values.shape[1] == 1 ? 0 : batch, row);
}

/// Refuses a shape that does not fit the call, and positions whose differences could overflow.
inline status check_explicit_positions(const char* name, const view<const index_t, 3>& values,
                                       index_t batch, index_t length) {
  const auto number = [](index_t x) { return static_cast<long long>(x); };
  const bool fits = values.shape[0] >= 1 && (values.shape[1] == batch || values.shape[1] == 1) &&
                    values.shape[2] == length;
  if (!fits) {
    return status::error(
        status_code::invalid_shape,
        "%s: shape is %s, must be [axis, batch or 1, position] = [1 or more, %lld, "
        "%lld]",
        name, shape_text(values.shape).text, number(batch), number(length));
  }
  if (status valid = check_view(name, values); !valid) return valid;
  if (values.size() == 0) return {};  // any number of axes
  for (index_t axis = 0; axis < values.shape[0]; ++axis) {
    for (index_t entry = 0; entry < values.shape[1]; ++entry) {
      for (index_t row = 0; row < length; ++row) {
        const index_t position = values(axis, entry, row);
        if (-max_offset <= position && position <= max_offset) continue;
        return status::error(status_code::invalid_value,
                             "%s: is %lld at [%lld, %lld, %lld], must be within +-2^60", name,
                             number(position), number(axis), number(entry), number(row));
      }
    }
  }
  return {};
}

// Checks of explicit positions against the other policies of a call.

/// Refuses a rotation that decays with distance, or that reads more than `axes` axes.
inline status check_rotation_positions(const rotation_rows& rotations, index_t axes) {
  if (rotations.decays) {
    return status::error(status_code::invalid_value,
                         "token_positions: the rotation decays with distance, and takes "
                         "implicit positions only (options.query_offset and key_offset)");
  }
  if (rotations.axes <= axes) return {};
  return status::error(
      status_code::invalid_shape,
      "token_positions: have %lld axes, but the pairs of the rotation rotate by %lld",
      static_cast<long long>(axes), static_cast<long long>(rotations.axes));
}

/// Refuses a bias on an axis that the positions do not have.
inline status check_axis(index_t axis, index_t axes) {
  if (axis < axes) return {};
  return status::error(status_code::invalid_shape,
                       "token_positions: have %lld axes, but a bias reads axis %lld",
                       static_cast<long long>(axes), static_cast<long long>(axis));
}

/// Refuses distances for which the table of a bias, constant outside of `varying`, has no room.
inline status check_tabulated_distances(const distance_range& distances,
                                        const distance_range& varying,
                                        const attention_shape& shape) {
  const index_t room = explicit_distances(shape);
  if (varying.size() <= room || distances.size() <= room) return {};
  return status::error(status_code::invalid_value,
                       "token_positions: are %lld to %lld apart, further than the %lld distances "
                       "for which a bias is tabulated: query_length + key_length - 1, or 4096",
                       static_cast<long long>(distances.first),
                       static_cast<long long>(distances.last), static_cast<long long>(room));
}

/// Refuses explicit positions that another policy cannot read. The policies have passed their own
/// checks before.
template <class... Policies>
status check_positions(const std::tuple<Policies...>& policies, const attention_shape& shape) {
  status result;
  if constexpr (any_explicit_positions<Policies...>) {
    const auto ask = [&]<class Policy>(const Policy& policy) {
      if (!result) return;
      if constexpr (is_rotation<Policy>) {
        const index_t axes = row_positions(policies, {}, 0).policy.axes();
        result = check_rotation_positions(policy.rotations(), axes);
      }
      if constexpr (reads_axis<Policy>) {
        result = check_axis(policy.axis(), row_positions(policies, {}, 0).policy.axes());
        if (!result) return;
      }
      if constexpr (has_bias_table<Policy>) {
        result = check_tabulated_distances(all_distances(policy, policies, shape, {}),
                                           varying_distances(policy), shape);
      }
    };
    std::apply([&](const auto&... policy) { (ask(policy), ...); }, policies);
  }
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
