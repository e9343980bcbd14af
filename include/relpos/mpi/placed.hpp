#pragma once
// Policies for a call over some rows of the sequence: numbers of query rows are of the rank's own
// rows, numbers of key rows of all positions of the sequence, and a row sees the keys of all ranks.

#include <tuple>
#include <type_traits>

#include "relpos/contract/head_policies.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// Whether the policy's data is indexed by the rows of a call.
template <class Policy>
inline constexpr bool reads_rows =
    stores_bias<head_policy_of<Policy>> || mixes_bias<Policy> ||
    gates_rows<head_policy_of<Policy>> || has_sink_of_rows<head_policy_of<Policy>> ||
    scales_by_row<head_policy_of<Policy>> || selects_keys<Policy> || places_tokens<Policy>;

/// Whether the policy differs between the calls that compute a rank's rows.
template <class Policy>
inline constexpr bool differs_by_call =
    reads_rows<Policy> || scales_by_count<head_policy_of<Policy>>;

/// What a policy's check_sequences reads.
struct checked_call {
  attention_shape shape;
  attention_shape shape_of(index_t) const { return shape; }
  positions position_of(index_t) const { return {}; }
};

/// Whether the policy's data seems to be indexed by distances of rows, and nothing moves it to a
/// call over some rows.
template <class Policy>
inline constexpr bool lacks_from_rows =
    stores_bias<head_policy_of<Policy>> && !reads_row_distances<Policy> &&
    requires(const Policy& policy, const checked_call& call) { policy.check_sequences(call); };

/// Where a call over some rows begins.
struct row_place {
  index_t query = 0;     // in the rank's own rows
  index_t key = 0;       // a position
  index_t distance = 0;  // the position of the first key less the position of the first query
  view<const index_t, 3> visible{};  // keys of all ranks that [batch, head, own row] sees
};

template <class HeadPolicy>
struct placed_head : HeadPolicy {
  index_t first_query, first_key;
  const index_t* visible;  // [row of the call]

  constexpr placed_head(const HeadPolicy& policy, const row_place& place, const index_t* counts)
      : HeadPolicy(policy), first_query(place.query), first_key(place.key), visible(counts) {}

  constexpr float bias_element(index_t query_row, index_t key_row) const
    requires stores_bias<HeadPolicy>
  {
    return HeadPolicy::bias_element(first_query + query_row, first_key + key_row);
  }
  constexpr float coefficient(index_t query_row, index_t term) const
    requires requires(const HeadPolicy& policy, index_t i) { policy.coefficient(i, i); }
  {
    return HeadPolicy::coefficient(first_query + query_row, term);
  }
  constexpr float row_gate(index_t query_row) const
    requires gates_rows<HeadPolicy>
  {
    return HeadPolicy::row_gate(first_query + query_row);
  }
  constexpr float sink_logit(index_t query_row) const
    requires has_sink_of_rows<HeadPolicy>
  {
    return HeadPolicy::sink_logit(first_query + query_row);
  }
  constexpr float logit_factor_of_row(index_t query_row, index_t q_pos) const
    requires(scales_by_row<HeadPolicy> || scales_by_count<HeadPolicy>)
  {
    if constexpr (scales_by_row<HeadPolicy>) {
      return HeadPolicy::logit_factor_of_row(first_query + query_row, q_pos);
    } else {
      return HeadPolicy::logit_factor(q_pos, visible[query_row]);
    }
  }
};

template <class Policy>
struct placed_policy : Policy {
  row_place rows_begin;

  constexpr placed_policy(const Policy& policy, const row_place& place)
      : Policy(policy), rows_begin(place) {}

  constexpr auto bind(index_t batch, index_t head) const {
    const Policy& policy = *this;
    if constexpr (reads_row_distances<Policy>) {
      return relpos::bind(policy.from_rows(rows_begin.query, rows_begin.key, rows_begin.distance),
                          batch, head);
    } else {
      auto bound = relpos::bind(policy, batch, head);
      if constexpr (std::is_same_v<decltype(bound), matrix_bias>) {
        bound.data += rows_begin.query * bound.query_stride + rows_begin.key * bound.key_stride;
        return bound;
      } else {
        const index_t* counts = nullptr;
        if constexpr (scales_by_count<decltype(bound)>) {
          counts = rows_begin.visible.address(batch, head, rows_begin.query);
        }
        return placed_head<decltype(bound)>(bound, rows_begin, counts);
      }
    }
  }
  constexpr key_selection selection(index_t batch, index_t key_head, index_t query_row) const
    requires selects_keys<Policy>
  {
    return Policy::selection(batch, key_head, rows_begin.query + query_row);
  }
  constexpr index_t query_position(index_t batch, index_t row, index_t axis) const
    requires places_tokens<Policy>
  {
    return Policy::query_position(batch, rows_begin.query + row, axis);
  }
  constexpr index_t key_position(index_t batch, index_t row, index_t axis) const
    requires places_tokens<Policy>
  {
    return Policy::key_position(batch, rows_begin.key + row, axis);
  }
  /// The data was checked against all rows.
  static status check(const attention_shape&) { return {}; }
  template <class Call>
  static status check_sequences(const Call&) {
    return {};
  }
};

/// A policy for a call whose rows begin at `place`.
template <class Policy>
constexpr auto placed(const Policy& policy, [[maybe_unused]] const row_place& place) {
  if constexpr (differs_by_call<Policy>) {
    return placed_policy<Policy>(policy, place);
  } else {
    return policy;
  }
}

/// All policies of a call, for a call whose rows begin at `place`.
template <class... Policies>
constexpr auto all_placed(const std::tuple<Policies...>& policies, const row_place& place) {
  return std::apply([&](const auto&... policy) { return std::tuple(placed(policy, place)...); },
                    policies);
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
