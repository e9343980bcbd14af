#pragma once
// The bias stages of one query group: they add biases to the scores of one key, for all queries of
// the group. Three kinds of policy have one interface: `key(row)` prepares a key, `apply(v, s)`
// adds to vector v.
//
// Scores and biases are in units of the exponent, base 2: `factor` is log2(e) / temperature.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <type_traits>

#include "relpos/call/bias_table.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/group_distances.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// A bias that is computed from the distance.
template <class Isa, class HeadPolicy, class Distances>
class computed_bias {
 public:
  static_assert(
      requires(const HeadPolicy& policy, float_pack<Isa> distance) {
        { policy.bias(distance) } -> std::convertible_to<float_pack<Isa>>;
      },
      "relpos: bias(distance) must be a template over the type of distance, double or a pack of "
      "floats, "
      "and "
      "calls relpos::abs, max, min and select on it");

  RELPOS_INLINE computed_bias(const HeadPolicy& policy, float factor, const Distances& distances)
      : policy_(folded(policy, factor)), factor_(factor), distances_(distances) {}

  struct key_bias {
    using real = float_pack<Isa>;
    const computed_bias& stage;
    typename Distances::to_key distances;

    RELPOS_INLINE real apply(int v, real s) const {
      const real distance = distances.lane(v);
      if constexpr (folds_factor<HeadPolicy>) {
        return add_folded_bias(s, stage.policy_, distance);
      } else {
        return add_computed_bias(s, stage.policy_, distance, real(stage.factor_));
      }
    }
  };

  RELPOS_INLINE key_bias key(index_t row) const { return {*this, distances_.key(row)}; }

 private:
  static RELPOS_INLINE HeadPolicy folded(const HeadPolicy& policy, float factor) {
    if constexpr (folds_factor<HeadPolicy>) {
      return policy.scaled(factor);
    } else {
      return policy;
    }
  }

  HeadPolicy policy_;
  float factor_;
  Distances distances_;
};

/// A bias that is read from a table over distance.
template <class Isa, class Distances>
class table_bias {
 public:
  RELPOS_INLINE table_bias(const bias_table& table, float factor, const Distances& distances)
      : table_(table), factor_(factor), distances_(distances) {}

  struct key_bias {
    using real = float_pack<Isa>;
    const float* lane_values;
    float factor;

    RELPOS_INLINE real apply(int v, real s) const {
      return add_tabulated_bias(s, real::load(lane_values + v * lanes<Isa>), real(factor));
    }
  };

  RELPOS_INLINE key_bias key(index_t row) const {
    return {distances_.lane_values(table_, row), factor_};
  }

 private:
  bias_table table_;
  float factor_;
  Distances distances_;
};

/// A bias that is read from a table over distance, times a factor of each row.
template <class Isa, class Distances>
class gated_table_bias {
 public:
  template <class HeadPolicy>
  RELPOS_INLINE gated_table_bias(const HeadPolicy& policy, const bias_table& table, float factor,
                                 const group_rows& rows, const Distances& distances)
      : table_(table), distances_(distances) {
    for (index_t lane = 0; lane < rows.count; ++lane) {
      gates_[lane] = table_gate(policy, rows.first_row + lane, factor);
    }
  }

  struct key_bias {
    using real = float_pack<Isa>;
    const float* lane_values;
    const float* gates;

    RELPOS_INLINE real apply(int v, real s) const {
      const index_t lane = v * lanes<Isa>;
      return add_tabulated_bias(s, real::load(lane_values + lane), real::load(gates + lane));
    }
  };

  RELPOS_INLINE key_bias key(index_t row) const {
    return {distances_.lane_values(table_, row), gates_};
  }

 private:
  bias_table table_;
  Distances distances_;
  float gates_[geometry<Isa>::group_rows] = {};
};

/// A bias that is gathered from the caller's matrix.
template <class Isa, class HeadPolicy>
class element_bias {
 public:
  RELPOS_INLINE element_bias(const HeadPolicy& policy, float factor, const group_rows& rows)
      : policy_(policy), factor_(factor), rows_(rows) {}

  struct key_bias {
    using real = float_pack<Isa>;
    float lane_values[geometry<Isa>::group_rows];

    RELPOS_INLINE real apply(int v, real s) const {
      return s + real::load(lane_values + v * lanes<Isa>);
    }
  };

  RELPOS_INLINE key_bias key(index_t row) const {
    key_bias result{};
    for (index_t lane = 0; lane < rows_.count; ++lane) {
      const float bias = policy_.bias_element(rows_.first_row + lane, row);
      result.lane_values[lane] = scaled_element(bias, factor_);
    }
    return result;
  }

 private:
  HeadPolicy policy_;
  float factor_;
  group_rows rows_;
};

/// The bias stage of one policy, for one group.
template <class Isa, class Policy, class RowPositions>
auto make_bias_stage(const Policy& policy, index_t batch, index_t head, float factor,
                     const bias_table& table, const group_rows& rows,
                     const RowPositions& position) {
  using head_policy_type = head_policy_of<Policy>;
  using distances = group_distances<Isa, RowPositions>;
  if constexpr (computes_bias<head_policy_type>) {
    return computed_bias<Isa, head_policy_type, distances>(bind(policy, batch, head), factor,
                                                           distances(position, rows));
  } else if constexpr (tabulates_bias<Policy> && gates_rows<head_policy_type>) {
    return gated_table_bias<Isa, distances>(bind(policy, batch, head), table, factor, rows,
                                            distances(position, rows));
  } else if constexpr (tabulates_bias<Policy>) {
    return table_bias<Isa, distances>(table, factor, distances(position, rows));
  } else {
    return element_bias<Isa, head_policy_type>(bind(policy, batch, head), factor, rows);
  }
}

// The last stage before the mask: the factors of the rows' logits, bias included. It has the
// interface of a bias stage, and is absent if no policy has row factors.

template <class Isa>
class row_factor_stage {
 public:
  /// `visible(lane)` returns the number of keys that the query of a lane sees.
  template <class Visible, class RowPositions, class... HeadPolicies>
  row_factor_stage(const std::tuple<HeadPolicies...>& head_policies, const group_rows& rows,
                   const RowPositions& position, const Visible& visible) {
    for (index_t lane = 0; lane < rows.count; ++lane) {
      factors_[lane] =
          logit_factor(head_policies, position.query(rows.first_row + lane), visible(lane));
    }
  }

  struct key_factor {
    using real = float_pack<Isa>;
    const float* factors;

    RELPOS_INLINE real apply(int v, real s) const {
      return times_row_factor(s, real::load(factors + v * lanes<Isa>));
    }
  };
  RELPOS_INLINE key_factor key(index_t) const { return {factors_}; }

 private:
  float factors_[geometry<Isa>::group_rows] = {};
};

}  // namespace relpos::inline RELPOS_ABI
