#pragma once
// Upper bounds of biases over a range of distances. With the norms of queries and keys they bound
// the scores of a tile.

#include <tuple>
#include <type_traits>

#include "relpos/contract/policy.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether the scores of a call can be bounded: at least one policy has `upper_bound`, every other
/// bias has it too, and no policy scales the logits of rows.
template <class... Policies>
inline constexpr bool can_bound_scores =
    ((bounds_bias<head_policy_of<Policies>> || ... || false)) &&
    ((bounds_bias<head_policy_of<Policies>> || !is_bias<Policies>) && ... && true) &&
    (!scales_rows<head_policy_of<Policies>> && ... && true);

/// An upper bound of the biases of a tile, in units of the exponent.
struct bias_bound {
  float largest = 0.0f;
  float magnitude = 0.0f;  // sum of |bound| over the biases: scales the rounding of their sum
};

/// The bound over a range of distances; `factor` converts biases to units of the exponent.
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
  std::apply([&](const auto&... policy) { (add(policy), ...); }, head_policies);
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
