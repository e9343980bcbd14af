#pragma once
// The stages of decode between product and weights, for the scores of one query row and one tile of
// keys: softcap, biases, cap, row factor, mask. Keys are in the lanes.

#include <algorithm>
#include <cmath>
#include <tuple>

#include "relpos/call/bias_table.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/cpu/prefill/bias_stage.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/simd/tanh.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// Adds the bias of one policy to the scores of one query row. `row_positions` has the positions
/// that encodings read; `q_pos` and `key_position` have the positions that masks read.
template <class Isa, class Policy, class RowPositions, class KeyPosition>
void add_row_bias(const Policy& policy, const bias_table& table, index_t sequence, index_t head,
                  index_t query_row, const RowPositions& row_positions,
                  [[maybe_unused]] index_t q_pos, [[maybe_unused]] const KeyPosition& key_position,
                  float factor, const key_lanes& keys, float* scores) {
  using real = float_pack<Isa>;
  using head_policy_type = head_policy_of<Policy>;
  const auto position = positions_for(policy, row_positions);
  // The distance to the key of a lane, for explicit positions.
  [[maybe_unused]] const auto distance_to = [&](index_t lane) {
    return position.key(keys.nearest_row(lane)) - position.query(query_row);
  };
  [[maybe_unused]] const auto for_each_vector = [&](const auto& add) {
    for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
      add(lane, real::load(scores + lane)).store(scores + lane);
    }
  };
  if constexpr (computes_bias<head_policy_type>) {
    const auto head_policy = bind(policy, sequence, head);
    const auto distances_to = [&](index_t lane) RELPOS_LAMBDA {
      if constexpr (RowPositions::are_implicit) {
        const index_t first = position.key(keys.first_row + lane) - position.query(query_row);
        return real(static_cast<float>(first)) + real::iota();
      } else {
        float distances[lanes<Isa>];
        for (int i = 0; i < lanes<Isa>; ++i) {
          distances[i] = static_cast<float>(distance_to(lane + i));
        }
        return real::load(distances);
      }
    };
    for_each_vector([&](index_t lane, real score) RELPOS_LAMBDA {
      return add_computed_bias(score, head_policy, distances_to(lane), real(factor));
    });
  } else if constexpr (has_bias_table<Policy>) {
    const auto add_term = [&](const bias_table& of, float gate) {
      const auto entries_of = [&](index_t lane) RELPOS_LAMBDA {
        if constexpr (RowPositions::are_implicit) {
          // The table is ordered by q_pos - k_pos, which falls from lane to lane.
          const index_t first = position.key(keys.first_row + lane) - position.query(query_row);
          const float* const entries = of.at(-(first + lanes<Isa> - 1), lanes<Isa>);
          return reversed(real::load(entries));
        } else {
          float values[lanes<Isa>];
          for (int i = 0; i < lanes<Isa>; ++i) values[i] = of.of(-distance_to(lane + i));
          return real::load(values);
        }
      };
      for_each_vector([&](index_t lane, real score) RELPOS_LAMBDA {
        return add_tabulated_bias(score, entries_of(lane), real(gate));
      });
    };
    if constexpr (mixes_bias<Policy>) {
      if constexpr (RowPositions::are_implicit) {
        const index_t first = position.key(keys.first_row) - position.query(query_row);
        if (vanishes_over(policy, {first + keys.first, first + keys.last - 1})) return;
      }
      const auto head_policy = bind(policy, sequence, head);
      for (index_t term = 0; term < table.terms; ++term) {
        add_term(table.of_term(term), head_policy.coefficient(query_row, term) * factor);
      }
    } else {
      add_term(table, table_gate(bind(policy, sequence, head), query_row, factor));
    }
  } else if constexpr (stores_bias<head_policy_type>) {
    const auto head_policy = bind(policy, sequence, head);
    for (index_t row = keys.rows.first; row < keys.rows.last; ++row) {
      scores[row - keys.first_row] +=
          scaled_element(head_policy.bias_element(query_row, position.key_row(row)), factor);
    }
  } else if constexpr (has_key_terms<head_policy_type>) {
    const auto head_policy = bind(policy, sequence, head);
    for (index_t row = keys.rows.first; row < keys.rows.last; ++row) {
      const double sum = sum_of_terms(head_policy, q_pos, key_position(row));
      scores[row - keys.first_row] += scaled_element(static_cast<float>(sum), factor);
    }
  }
}

/// The class that element masks give to a range of key positions for one query.
template <class... Masks>
tile_class classify_row(const std::tuple<Masks...>& masks, index_t q_pos, const key_range& keys) {
  return classify_all(masks, {q_pos, q_pos + 1, keys.first, keys.last});
}

/// Hides the keys that one row does not see, and the lanes without a key. Returns the class of the
/// tile for the row. `visible` is the range that range masks leave. `key_position` is key row ->
/// position, and rises. If the class is skip, the scores do not change.
template <class Isa, class KeyPosition, class... Masks>
tile_class hide_row(const std::tuple<Masks...>& masks, index_t q_pos, const key_range& visible,
                    const KeyPosition& key_position, const key_lanes& keys, float* scores) {
  using real = float_pack<Isa>;
  using integer = int_pack<Isa>;
  const index_t first = std::max(visible.first, keys.rows.first) - keys.first_row;
  const index_t last = std::min(visible.last, keys.rows.last) - keys.first_row;
  tile_class kept = classify_row(
      masks, q_pos, {key_position(keys.rows.first), key_position(keys.rows.last - 1) + 1});
  if (first >= last) kept = tile_class::skip;
  if (kept == tile_class::skip) return kept;
  const bool sees_range =
      first + keys.first_row == keys.rows.first && last + keys.first_row == keys.rows.last;
  if (first > keys.first || last < keys.last) {
    const integer first_lane(static_cast<std::int32_t>(first));
    const integer last_lane(static_cast<std::int32_t>(last));
    for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
      const integer indices = integer::iota() + integer(static_cast<std::int32_t>(lane));
      hidden_unless(range_shows(indices, first_lane, last_lane), real::load(scores + lane))
          .store(scores + lane);
    }
  }
  if (kept == tile_class::partial) {
    for (index_t lane = first; lane < last; ++lane) {
      if (!all_keep(masks, q_pos, key_position(keys.first_row + lane))) scores[lane] = hidden_score;
    }
  }
  return sees_range ? kept : tile_class::partial;
}

/// Applies the tanh of softcap; `factor` is in units of the exponent.
template <class Isa>
void cap_row(float factor, const key_lanes& keys, float* scores) {
  using real = float_pack<Isa>;
  for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
    (real(factor) * tanh<Isa>(real::load(scores + lane))).store(scores + lane);
  }
}

/// Caps scores, biases included; `cap` is in units of the exponent.
template <class Isa>
void cap_biased_row(float cap, const key_lanes& keys, float* scores) {
  using real = float_pack<Isa>;
  const auto tanh_of = [](real x) RELPOS_LAMBDA { return tanh<Isa>(x); };
  for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
    const real score = real::load(scores + lane);
    capped_score(tanh_of, score, real(cap), real(1.0f / cap)).store(scores + lane);
  }
}

/// Multiplies the scores by the factor of the row.
template <class Isa>
void scale_row(float factor, const key_lanes& keys, float* scores) {
  using real = float_pack<Isa>;
  for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
    times_row_factor(real::load(scores + lane), real(factor)).store(scores + lane);
  }
}

}  // namespace relpos::inline RELPOS_ABI
