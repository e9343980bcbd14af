#pragma once
// Rows whose every bias is near the lowest float, as where a matrix hides keys by a large number instead of infinity.
// In units of the exponent such scores are beyond float32. A kernel that has seen nothing higher in a row leaves the row
// to this function, which goes through it once more in float64. Scores q.k are lost in the rounding of these biases,
// in float32 as in float64: the row is the mean of the values whose bias is largest.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "relpos/core/mask.hpp"
#include "relpos/core/row_positions.hpp"
#include "relpos/core/row_source.hpp"
#include "relpos/core/visible_rows.hpp"
#include "relpos/kernel/problem.hpp"

namespace relpos::inline RELPOS_ABI {

/// A row whose largest exponent is below this is one of them, or sees no key.
inline constexpr float extreme_exponent = -0x1p120f;

/// The sum of all biases of one key, in float64; -inf where a bias or a mask that asks for elements hides it.
template <class Problem>
double bias_of_key(const Problem& problem, index_t head, index_t row, index_t key) {
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  const auto position = row_positions(problem.policies, problem.position, problem.sequence);
  const index_t q_pos = row + problem.position.query_offset;
  const index_t k_pos = key + problem.position.key_offset;
  double sum = 0.0;
  const auto add = [&]<class Policy>(const Policy& policy) {
    const auto bound = bind(policy, problem.sequence, head);
    using bound_type = std::decay_t<decltype(bound)>;
    if constexpr (masks_elements<bound_type>) {
      if (!bound.keep(q_pos, k_pos)) sum = hidden;
    }
    if (sum == hidden) return;
    const index_t distance = position.key(key) - position.query(row);
    if constexpr (computes_bias<bound_type>) {
      sum += static_cast<double>(bound.bias(static_cast<double>(distance)));
    } else if constexpr (tabulates_bias<Policy>) {
      double gate = 1.0;
      if constexpr (gates_rows<bound_type>) gate = static_cast<double>(bound.row_gate(row));
      // A table holds float32: beyond it is infinity.
      const auto tabulated = static_cast<double>(policy.tabulated_bias(head, distance));
      const bool hides = tabulated < static_cast<double>(std::numeric_limits<float>::lowest());
      sum = hides ? hidden : sum + gate * tabulated;
    } else if constexpr (stores_bias<bound_type>) {
      sum += static_cast<double>(bound.bias_element(row, key));
    }
  };
  std::apply([&](const auto&... each) { (add(each), ...); }, problem.policies);
  return sum;
}

/// Writes a row again if all its biases are near the lowest float. `buffer` holds 2 value_dim floats.
template <class Isa, class Problem>
void attend_extreme_row(const Problem& problem, index_t head, index_t row, float* buffer) {
  constexpr double extreme = -0x1p100;
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  const auto bound = bind_all(problem.policies, problem.sequence, head);
  const index_t channels = problem.shape.value_dim;
  const double sink = static_cast<double>(sink_logit(bound));
  const key_range seen = visible_key_rows(bound, row + problem.position.query_offset,
                                          problem.position.key_offset, problem.shape.key_length);
  const resident_rows resident = problem.resident_of(problem.sequence);
  const auto for_each_key = [&](const auto& use) {
    for (index_t piece = 0; piece < Problem::pieces; ++piece) {
      const key_range keys = intersect(resident.piece(piece), seen);
      for (index_t key = keys.first; key < keys.last; ++key) use(key);
    }
  };

  double largest = hidden;
  for_each_key([&](index_t key) {
    if (largest <= extreme) largest = std::max(largest, bias_of_key(problem, head, row, key));
  });
  if (largest == hidden || !(largest <= extreme) || sink > extreme) return;

  const auto position = row_positions(problem.policies, problem.position, problem.sequence);
  const double factor =
      static_cast<double>(
          logit_factor(bound, position.query(row), problem.count_shown(seen, row))) /
      static_cast<double>(softmax_temperature(problem.policies, problem.sequence, head));
  const auto values =
      problem.store.template values<Isa>(problem.sequence, problem.shape.key_head(head));
  double total = std::exp(sink - largest * factor);
  float* const sum = buffer;
  std::fill(sum, sum + channels, 0.0f);
  for_each_key([&](index_t key) {
    // Biases of this size are equal or so far apart that the smaller has no weight.
    if (bias_of_key(problem, head, row, key) != largest) return;
    total += 1.0;
    const float* const value = read_row(values, key, buffer + channels);
    for (index_t c = 0; c < channels; ++c) sum[c] += value[c];
  });
  for (index_t c = 0; c < channels; ++c) {
    using out_type = typename decltype(problem.out)::value_type;
    problem.out(0, head, row, c) =
        static_cast<out_type>(static_cast<float>(static_cast<double>(sum[c]) / total));
  }
  // What float32 does not hold is the lowest float: -inf would say that no key is seen.
  constexpr auto lowest = static_cast<double>(std::numeric_limits<float>::lowest());
  const auto write = [&](const std::optional<view<float, 3>>& where, double number) {
    if (where) (*where)(0, head, row) = static_cast<float>(number);
  };
  if (problem.lse.data != nullptr) {
    problem.lse(0, head, row) =
        static_cast<float>(std::max(largest * factor + std::log(total), lowest));
  }
  write(problem.statistics.max_probability, 1.0 / total);
  write(problem.statistics.entropy, std::log(total));
}

}  // namespace relpos::inline RELPOS_ABI
