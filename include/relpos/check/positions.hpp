#pragma once
// Positions that are given per token, against what the other policies of a call do with them.

#include <tuple>

#include "relpos/call/row_positions.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses a rotation that cannot turn by the positions of `axes` axes.
inline status check_rotation_positions(const rotation_rows& rotations, index_t axes) {
  if (rotations.decays) {
    return status::error(status_code::invalid_value,
                         "token_positions: the rotation decays with distance, and takes the "
                         "positions of options.query_offset and key_offset only");
  }
  if (rotations.axes <= axes) return {};
  return status::error(
      status_code::invalid_shape,
      "token_positions: have %lld axes, but the pairs of the rotation turn by %lld",
      static_cast<long long>(axes), static_cast<long long>(rotations.axes));
}

/// Refuses distances for which a tabulated bias, constant outside of `varying`, has no room: its table is as long
/// as that of rows counted on.
inline status check_tabulated_distances(const distance_range& distances,
                                        const distance_range& varying,
                                        const attention_shape& shape) {
  const index_t room = countable_distances(shape);
  if (varying.size() <= room || distances.size() <= room) return {};
  return status::error(status_code::invalid_value,
                       "token_positions: are %lld to %lld apart, further than the %lld distances "
                       "for which a bias is tabulated: query_length + key_length - 1",
                       static_cast<long long>(distances.first),
                       static_cast<long long>(distances.last), static_cast<long long>(room));
}

/// Refuses given positions that another policy cannot read; those are checked one by one before.
template <class... Policies>
status check_positions(const std::tuple<Policies...>& policies, const attention_shape& shape) {
  status result;
  if constexpr (any_given_positions<Policies...>) {
    const auto ask = [&]<class Policy>(const Policy& policy) {
      if (!result) return;
      if constexpr (is_rotation<Policy>) {
        const index_t axes = row_positions(policies, {}, 0).policy.axes();
        result = check_rotation_positions(policy.rotations(), axes);
      } else if constexpr (tabulates_bias<Policy>) {
        result = check_tabulated_distances(all_distances(policies, shape, {}),
                                           varying_distances(policy), shape);
      }
    };
    std::apply([&](const auto&... each) { (ask(each), ...); }, policies);
  }
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
