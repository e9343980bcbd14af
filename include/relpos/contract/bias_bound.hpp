#pragma once
// Upper bounds of biases over a range of distances. With the norms of queries and keys they bound
// the scores of a tile.

#include <limits>
#include <tuple>
#include <type_traits>

#include "relpos/contract/policy.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether the scores of a call can be bounded: at least one bias may fall with the distance, every
/// bias has a bound and reads the first axis, and no policy scales the logits of rows, or caps them
/// with the bias, which raises low ones.
template <class... Policies>
inline constexpr bool can_bound_scores =
    ((bounds_bias<head_policy_of<Policies>> || has_query_terms<head_policy_of<Policies>>) || ... ||
     false) &&
    ((!is_bias<Policies> || (bounds_bias<head_policy_of<Policies>> && !reads_axis<Policies>) ||
      has_key_terms<head_policy_of<Policies>>) &&
     ... && true) &&
    ((!scales_rows<head_policy_of<Policies>> && !caps_after_bias<head_policy_of<Policies>>) &&
     ... && true);

/// An upper bound of the biases of a tile, in units of the exponent.
struct bias_bound {
  float largest = 0.0f;
  float magnitude = 0.0f;  // sum of |bound| over the biases: scales the rounding of their sum
};

/// The largest of some terms, and the largest of their magnitudes.
struct term_bound {
  double largest = -std::numeric_limits<double>::infinity();
  double magnitude = 0.0;

  constexpr void add(double term) {
    largest = max(term, largest);
    magnitude = max(abs(term), magnitude);
  }
};

/// The bound over a tile, whose rows have these distances; `factor` converts biases to units of the
/// exponent.
template <class... Policies>
constexpr bias_bound largest_bias(const std::tuple<Policies...>& head_policies, const tile& region,
                                  const distance_range& distances, float factor) {
  bias_bound result;
  const auto add = [&]<class Policy>(const Policy& policy) {
    if constexpr (bounds_bias<Policy>) {
      const float largest = policy.upper_bound(distances.first, distances.last) * factor;
      result.largest += largest;
      result.magnitude += relpos::abs(largest);
    } else if constexpr (has_key_terms<Policy>) {
      if constexpr (has_query_terms<Policy>) {
        // The largest sum of the tile, if the bias decays.
        const double nearest = sum_of_terms(policy, region.first_query, region.last_key - 1);
        constexpr double negligible = -16.0;  // a larger one is not worth the search
        if (nearest * static_cast<double>(factor) > negligible) {
          result.largest = std::numeric_limits<float>::infinity();
          return;
        }
      }
      // Kernels round the terms relative to a key of the tile.
      const double origin = has_query_terms<Policy> ? policy.key_term(region.first_key) : 0.0;
      term_bound of_keys;
      for (index_t k_pos = region.first_key; k_pos < region.last_key; ++k_pos) {
        of_keys.add(policy.key_term(k_pos) - origin);
      }
      term_bound of_queries;
      if constexpr (has_query_terms<Policy>) {
        for (index_t q_pos = region.first_query; q_pos < region.last_query; ++q_pos) {
          of_queries.add(policy.query_term(q_pos) + origin);
        }
      } else {
        of_queries.add(0.0);
      }
      result.largest += static_cast<float>(of_keys.largest + of_queries.largest) * factor;
      result.magnitude += static_cast<float>(of_keys.magnitude + of_queries.magnitude) * factor;
    }
  };
  std::apply([&](const auto&... policy) { (add(policy), ...); }, head_policies);
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
