#pragma once
// Policies whose data is indexed by rows, for a call over some of them: numbers of query rows are of
// the rank's own rows, numbers of key rows of all positions of the sequence.

#include <type_traits>

#include "relpos/contract/head_policies.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// The members of a call that a policy's check_sequences reads.
struct row_call {
  attention_shape shape;
  attention_shape shape_of(index_t) const { return shape; }
  positions position_of(index_t) const { return {}; }
};

/// Whether the policy's data is indexed by the rows of a call.
template <class Policy>
inline constexpr bool reads_rows =
    stores_bias<head_policy_of<Policy>> || mixes_bias<Policy> ||
    gates_rows<head_policy_of<Policy>> || has_sink_of_rows<head_policy_of<Policy>> ||
    places_tokens<Policy>;

/// Whether the policy's data is indexed by rows, and by their distance too: a rank's rows and the
/// positions of keys have none.
template <class Policy>
inline constexpr bool reads_row_distances =
    stores_bias<head_policy_of<Policy>> &&
    requires(const Policy& policy, const row_call& call) { policy.check_sequences(call); };

/// The place of the first query and the first key of a call in the data of policies.
struct row_place {
  index_t query = 0;
  index_t key = 0;
};

template <class HeadPolicy>
struct placed_head : HeadPolicy {
  row_place rows_begin;

  constexpr placed_head(const HeadPolicy& policy, const row_place& place)
      : HeadPolicy(policy), rows_begin(place) {}

  constexpr float bias_element(index_t query_row, index_t key_row) const
    requires stores_bias<HeadPolicy>
  {
    return HeadPolicy::bias_element(rows_begin.query + query_row, rows_begin.key + key_row);
  }
  constexpr float coefficient(index_t query_row, index_t term) const
    requires requires(const HeadPolicy& policy, index_t i) { policy.coefficient(i, i); }
  {
    return HeadPolicy::coefficient(rows_begin.query + query_row, term);
  }
  constexpr float row_gate(index_t query_row) const
    requires gates_rows<HeadPolicy>
  {
    return HeadPolicy::row_gate(rows_begin.query + query_row);
  }
  constexpr float sink_logit(index_t query_row) const
    requires has_sink_of_rows<HeadPolicy>
  {
    return HeadPolicy::sink_logit(rows_begin.query + query_row);
  }
};

template <class Policy>
struct placed_policy : Policy {
  row_place rows_begin;

  constexpr placed_policy(const Policy& policy, const row_place& place)
      : Policy(policy), rows_begin(place) {}

  constexpr auto bind(index_t batch, index_t head) const {
    auto bound = relpos::bind(static_cast<const Policy&>(*this), batch, head);
    if constexpr (std::is_same_v<decltype(bound), matrix_bias>) {
      bound.data += rows_begin.query * bound.query_stride + rows_begin.key * bound.key_stride;
      return bound;
    } else {
      return placed_head<decltype(bound)>(bound, rows_begin);
    }
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
};

/// A policy for a call whose rows begin at `place`.
template <class Policy>
constexpr auto placed(const Policy& policy, [[maybe_unused]] const row_place& place) {
  if constexpr (reads_rows<Policy>) {
    return placed_policy<Policy>(policy, place);
  } else {
    return policy;
  }
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
