#pragma once
// What biases can be at most over a range of distances: with the norms of queries and keys, a bound
// of the scores of a tile.

#include <tuple>
#include <type_traits>

#include "relpos/contract/policy.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether the biases of a call can be bounded: at least one says so, and nothing else raises
/// scores by an unknown amount.
template <class... Policies>
inline constexpr bool can_bound_scores =
    ((bounds_bias<head_policy_of<Policies>> || ... || false)) &&
    ((bounds_bias<head_policy_of<Policies>> || !is_bias<Policies>) && ... && true) &&
    (!scales_rows<head_policy_of<Policies>> && ... && true);

/// No bias of a tile is larger, in units of the exponent.
struct bias_bound {
  float largest = 0.0f;
  float magnitude = 0.0f;  // the sum of those of several biases, by which their sum is rounded
};

/// Over a range of distances.
template <class... Policies>
constexpr bias_bound largest_bias(const std::tuple<Policies...>& head_policies,
                                  const distance_range& distances, float factor) {
  bias_bound result;
  const auto add = [&](const auto& policy) {
    if constexpr (bounds_bias<std::decay_t<decltype(policy)>>) {
      const float largest = policy.upper_bound(distances.first, distances.last) * factor;
      result.largest += largest;
      result.magnitude += relpos::abs(largest);
    }
  };
  std::apply([&](const auto&... each) { (add(each), ...); }, head_policies);
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
