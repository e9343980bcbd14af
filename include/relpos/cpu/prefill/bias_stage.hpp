#pragma once
// The bias stages of one query group: they add biases to the scores of one key, for all queries of
// the group. All kinds of policy have one interface: `key(row)` prepares a key, `apply(v, s)`
// adds to vector v.
//
// A stage may have `add_to_strip` besides, for several keys at once.
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

/// A bias that each row mixes from tables over distance. Beside `key`, it adds to all keys of a
/// strip at once, so that a coefficient is loaded once for several keys.
template <class Isa, class Policy, class Distances>
class mixed_table_bias {
 public:
  using real = float_pack<Isa>;
  static constexpr index_t width = geometry<Isa>::group_rows;

  /// `coefficients` has room for [terms][group_rows].
  mixed_table_bias(const Policy& policy, index_t batch, index_t head, const bias_table& table,
                   float factor, const group_rows& rows, const Distances& distances,
                   float* coefficients)
      : policy_(policy), table_(table), distances_(distances), coefficients_(coefficients) {
    const auto head_policy = bind(policy, batch, head);
    for (index_t term = 0; term < table.terms; ++term) {
      for (index_t lane = 0; lane < width; ++lane) {
        const bool exists = lane < rows.count;
        coefficients[term * width + lane] =
            exists ? head_policy.coefficient(rows.first_row + lane, term) * factor : 0.0f;
      }
    }
  }

  struct key_bias {
    const mixed_table_bias& stage;
    index_t row;

    RELPOS_INLINE real apply(int v, real s) const {
      const index_t lane = v * lanes<Isa>;
      for (index_t term = 0; term < stage.table_.terms; ++term) {
        const float* const entries = stage.distances_.lane_values(stage.table_.of_term(term), row);
        s = add_tabulated_bias(s, real::load(entries + lane),
                               real::load(stage.coefficients_ + term * width + lane));
      }
      return s;
    }
  };
  RELPOS_INLINE key_bias key(index_t row) const { return {*this, row}; }

  /// Adds to the scores of keys [row, row + Rows). Explicit positions have no strips: the distances
  /// of neighbouring keys have nothing in common.
  template <int Rows, int Vectors>
    requires(Distances::are_implicit)
  RELPOS_INLINE void add_to_strip(index_t row, real (&scores)[Rows][Vectors]) const {
    const index_t first = distances_.to_key_row(row);
    if (vanishes_over(policy_, {first - width + 1, first + Rows - 1})) return;
    const float* entries[Rows];
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) entries[r] = distances_.lane_values(table_, row + r);
    const float* coefficient = coefficients_;
    for (index_t term = 0; term < table_.terms; ++term, coefficient += width) {
      const index_t offset = term * table_.size();
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const real gate = real::load(coefficient + v * lanes<Isa>);
        RELPOS_UNROLL
        for (int r = 0; r < Rows; ++r) {
          scores[r][v] = add_tabulated_bias(scores[r][v],
                                            real::load(entries[r] + offset + v * lanes<Isa>), gate);
        }
      }
    }
  }

 private:
  Policy policy_;
  bias_table table_;
  Distances distances_;
  const float* coefficients_;
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

/// A bias that is the sum of a number of the key and a number of the query. Both are taken relative
/// to a key nearby, in float64, so that they are small where the bias is small.
template <class Isa, class HeadPolicy>
class term_bias {
 public:
  static constexpr index_t width = geometry<Isa>::group_rows;
  /// Few enough that the terms of neighbours are hardly larger than their sum.
  static constexpr index_t keys_of_origin = 16;

  term_bias(const HeadPolicy& policy, float factor, const group_rows& rows)
      : policy_(policy),
        factor_(factor),
        key_offset_(rows.key_offset),
        last_key_(rows.key_offset + rows.key_length) {
    if constexpr (has_query_terms<HeadPolicy>) {
      for (index_t lane = 0; lane < rows.count; ++lane) {
        stored_terms_[lane] = policy.query_term(rows.q_pos + lane);
      }
    }
  }

  struct key_bias {
    using real = float_pack<Isa>;
    const term_bias& stage;
    float key_term;

    RELPOS_INLINE real apply([[maybe_unused]] int v, real s) const {
      if constexpr (has_query_terms<HeadPolicy>) {
        return s + (real::load(stage.query_terms_ + v * lanes<Isa>) + real(key_term));
      } else {
        return s + real(key_term);
      }
    }
  };

  RELPOS_INLINE key_bias key(index_t row) const {
    const index_t k_pos = row + key_offset_;
    if constexpr (has_query_terms<HeadPolicy>) {
      enter(k_pos);
      return {*this, key_terms_[k_pos - block_ * keys_of_origin]};
    } else {
      return {*this, scaled_element(static_cast<float>(policy_.key_term(k_pos)), factor_)};
    }
  }

  /// Adds to the scores of keys [row, row + Rows), which mostly have one origin.
  template <int Rows, int Vectors>
    requires(has_query_terms<HeadPolicy>)
  RELPOS_INLINE void add_to_strip(index_t row, float_pack<Isa> (&scores)[Rows][Vectors]) const {
    using real = float_pack<Isa>;
    const index_t first = row + key_offset_;
    if (floor_div(first, keys_of_origin) != floor_div(first + Rows - 1, keys_of_origin)) {
      for (int r = 0; r < Rows; ++r) {
        const key_bias bias = key(row + r);
        for (int v = 0; v < Vectors; ++v) scores[r][v] = bias.apply(v, scores[r][v]);
      }
      return;
    }
    enter(first);
    const float* const terms = key_terms_ + (first - block_ * keys_of_origin);
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      const real query_terms = real::load(query_terms_ + v * lanes<Isa>);
      RELPOS_UNROLL
      for (int r = 0; r < Rows; ++r) scores[r][v] = scores[r][v] + (query_terms + real(terms[r]));
    }
  }

 private:
  RELPOS_INLINE void enter(index_t k_pos) const {
    const index_t block = floor_div(k_pos, keys_of_origin);
    if (block != block_) change_origin(block);
  }
  RELPOS_NOINLINE void change_origin(index_t block) const {
    block_ = block;
    const index_t begin = block * keys_of_origin;
    const index_t first = std::max(begin, key_offset_);
    const index_t last = std::min(begin + keys_of_origin, last_key_);
    const double origin = policy_.key_term(first);
    for (index_t k_pos = first; k_pos < last; ++k_pos) {
      key_terms_[k_pos - begin] = static_cast<float>(policy_.key_term(k_pos) - origin) * factor_;
    }
    for (index_t lane = 0; lane < width; ++lane) {
      query_terms_[lane] = static_cast<float>(stored_terms_[lane] + origin) * factor_;
    }
  }

  HeadPolicy policy_;
  float factor_;
  index_t key_offset_;
  index_t last_key_;
  double stored_terms_[width] = {};
  // The keys near the origin, and terms relative to it, in units of the exponent.
  mutable index_t block_ = std::numeric_limits<index_t>::min();
  mutable float key_terms_[keys_of_origin] = {};
  mutable float query_terms_[width] = {};
};

/// The bias stage of one policy, for one group. `coefficients` has room for the terms of a mixed
/// bias.
template <class Isa, class Policy, class RowPositions>
auto make_bias_stage(const Policy& policy, index_t batch, index_t head, float factor,
                     const bias_table& table, const group_rows& rows,
                     const RowPositions& row_positions, [[maybe_unused]] float* coefficients) {
  const auto position = positions_for(policy, row_positions);
  using head_policy_type = head_policy_of<Policy>;
  using distances = group_distances<Isa, RowPositions>;
  if constexpr (computes_bias<head_policy_type>) {
    return computed_bias<Isa, head_policy_type, distances>(bind(policy, batch, head), factor,
                                                           distances(position, rows));
  } else if constexpr (tabulates_bias<Policy> && gates_rows<head_policy_type>) {
    return gated_table_bias<Isa, distances>(bind(policy, batch, head), table, factor, rows,
                                            distances(position, rows));
  } else if constexpr (mixes_bias<Policy>) {
    return mixed_table_bias<Isa, Policy, distances>(policy, batch, head, table, factor, rows,
                                                    distances(position, rows), coefficients);
  } else if constexpr (tabulates_bias<Policy>) {
    return table_bias<Isa, distances>(table, factor, distances(position, rows));
  } else if constexpr (has_key_terms<head_policy_type>) {
    return term_bias<Isa, head_policy_type>(bind(policy, batch, head), factor, rows);
  } else {
    return element_bias<Isa, head_policy_type>(bind(policy, batch, head), factor, rows);
  }
}

/// Whether a stage adds to several keys at once.
template <class Stage, class Real>
concept adds_to_strips =
    requires(const Stage& stage, Real (&scores)[1][1]) { stage.add_to_strip(index_t{}, scores); };

}  // namespace relpos::inline RELPOS_ABI
