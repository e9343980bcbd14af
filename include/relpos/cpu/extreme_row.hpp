#pragma once
// Attention of rows in which every bias is near the lowest float, for example because a matrix
// hides keys by a large number instead of infinity. In units of the exponent their scores are
// beyond float32. If a kernel has seen no higher score in a row, it leaves the row to
// attend_extreme_row, which goes through the biases once more in float64. The rounding of these
// biases loses the scores q.k, in float32 and in float64: the row is the mean of the values whose
// bias is largest.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "relpos/call/kv_source.hpp"
#include "relpos/call/problem.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/call/selected_rows.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/cpu/lowered_head.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// The biases of one row of one head by definition, summed in float64.
template <class Isa, class Problem>
class row_biases {
 public:
  row_biases(const problem_sequence<Problem>& sequence, index_t head, index_t row)
      : sequence_(sequence),
        head_(head),
        row_(row),
        head_policies_(bind_all(sequence.call.policies, sequence.at, head)),
        selection_(selection_masks(sequence.call.policies, sequence.at,
                                   sequence.shape.key_head(head), sequence.position.query_offset)),
        position_(row_positions(sequence.call.policies, sequence.position, sequence.at)) {}

  /// The sum of the biases of one key; -inf if a bias or an element mask hides it, or if it is not
  /// selected.
  double of(index_t key) const {
    return sum(key, std::make_index_sequence<std::tuple_size_v<head_policies_type>>());
  }

 private:
  using head_policies_type =
      decltype(bind_all(std::declval<Problem>().policies, index_t{}, index_t{}));
  static constexpr double hidden = -std::numeric_limits<double>::infinity();

  template <std::size_t... I>
  double sum(index_t key, std::index_sequence<I...>) const {
    const bool is_kept = (keeps(std::get<I>(head_policies_), key) && ... && true) &&
                         all_keep(selection_, row_ + sequence_.position.query_offset,
                                  key + sequence_.position.key_offset);
    if (!is_kept) return hidden;
    // Stored biases come first: a bias function is not called for a key that a matrix hides.
    double result = (stored_bias(std::get<I>(head_policies_), key) + ... + 0.0);
    if (result == hidden) return hidden;
    ((result += bias(std::get<I>(sequence_.call.policies), std::get<I>(head_policies_), key)), ...);
    return result;
  }
  template <class HeadPolicy>
  bool keeps(const HeadPolicy& head_policy, index_t key) const {
    if constexpr (masks_elements<HeadPolicy>) {
      return head_policy.keep(row_ + sequence_.position.query_offset,
                              key + sequence_.position.key_offset);
    }
    return true;
  }
  template <class Policy, class HeadPolicy>
  double bias([[maybe_unused]] const Policy& policy, [[maybe_unused]] const HeadPolicy& head_policy,
              [[maybe_unused]] index_t key) const {
    [[maybe_unused]] const auto position = positions_for(policy, position_);
    if constexpr (computes_bias<HeadPolicy>) {
      // A user's function may accept packs only.
      const auto distance = static_cast<float>(position.key(key) - position.query(row_));
      float computed[lanes<Isa>];
      float_pack<Isa>(head_policy.bias(float_pack<Isa>(distance))).store(computed);
      return static_cast<double>(computed[0]);
    } else if constexpr (tabulates_bias<Policy>) {
      // A table holds float32: a value below its range is -inf.
      const auto tabulated = static_cast<double>(
          policy.tabulated_bias(head_, position.key(key) - position.query(row_)));
      if (tabulated < static_cast<double>(std::numeric_limits<float>::lowest())) return hidden;
      if constexpr (gates_rows<HeadPolicy>)
        return static_cast<double>(head_policy.row_gate(row_)) * tabulated;
      return tabulated;
    } else if constexpr (mixes_bias<Policy>) {
      const index_t distance = position.key(key) - position.query(row_);
      double sum = 0.0;
      for (index_t term = 0; term < policy.terms(); ++term) {
        sum += static_cast<double>(head_policy.coefficient(row_, term)) *
               static_cast<double>(policy.tabulated_term(head_, term, distance));
      }
      return sum;
    } else if constexpr (has_key_terms<HeadPolicy>) {
      return sum_of_terms(head_policy, row_ + sequence_.position.query_offset,
                          key + sequence_.position.key_offset);
    } else {
      return 0.0;
    }
  }
  template <class HeadPolicy>
  double stored_bias([[maybe_unused]] const HeadPolicy& head_policy,
                     [[maybe_unused]] index_t key) const {
    if constexpr (stores_bias<HeadPolicy>) {
      return static_cast<double>(head_policy.bias_element(row_, key));
    } else {
      return 0.0;
    }
  }

  const problem_sequence<Problem>& sequence_;
  index_t head_;
  index_t row_;
  head_policies_type head_policies_;
  selection_masks_of<decltype(Problem::policies)> selection_;
  row_positions_of<decltype(Problem::policies)> position_;
};

/// Overwrites a row if all its biases are near the lowest float, unless a cap moves them away from
/// it. `buffer` holds 3 * value_dim floats.
template <class Isa, class Problem>
void attend_extreme_row(const problem_sequence<Problem>& sequence, index_t head, index_t row,
                        float* buffer) {
  constexpr double hidden = -std::numeric_limits<double>::infinity();
  const auto head_policies = bind_all(sequence.call.policies, sequence.at, head);
  const index_t channels = sequence.shape.value_dim;
  const key_range seen = visible_key_rows(head_policies, row + sequence.position.query_offset,
                                          sequence.position.key_offset, sequence.shape.key_length);
  if (Problem::caps_bias || seen.last <= seen.first) return;
  const resident_rows resident = sequence.call.resident_of(sequence.at);
  const auto for_each_key = [&](const auto& use) {
    for (index_t piece = 0; piece < Problem::pieces; ++piece) {
      const key_range keys = intersect(resident.piece(piece), seen);
      for (index_t key = keys.first; key < keys.last; ++key) use(key);
    }
  };

  const row_biases<Isa, Problem> biases(sequence, head, row);
  double largest = hidden;
  bool is_number = true;
  for_each_key([&](index_t key) {
    const double bias = biases.of(key);
    is_number = is_number && !std::isnan(bias);
    largest = std::max(largest, bias);
  });
  const auto position = row_positions(sequence.call.policies, sequence.position, sequence.at);
  const double factor =
      static_cast<double>(
          logit_factor(head_policies, row, position.query(row), sequence.count_shown(seen, row))) /
      static_cast<double>(softmax_temperature(sequence.call.policies, sequence.at, head));
  // `top` is in natural units, extreme_exponent in base 2. Half of extreme_exponent is above
  // extreme_exponent * ln 2, so the difference in units refuses no row. At this size no score q.k
  // matters.
  constexpr auto extreme = static_cast<double>(extreme_exponent) / 2;
  const double top = largest * factor;
  const auto sink = static_cast<double>(sink_logit(head_policies, row));
  if (!is_number || largest == hidden || !(top <= extreme) || sink > extreme) return;

  const auto values =
      sequence.call.source.template values<Isa>(sequence.at, sequence.shape.key_head(head));
  double total = std::exp(sink - top);
  // Compensated sums (Kahan, 1965): all values have the same weight, and there may be a million of
  // them.
  float* const sum = buffer;
  float* const lost = buffer + channels;
  std::fill(sum, sum + 2 * channels, 0.0f);
  for_each_key([&](index_t key) {
    // Biases of this size are equal or so far apart that the smaller has no weight.
    if (biases.of(key) != largest) return;
    total += 1.0;
    const float* const value = read_row(values, key, buffer + 2 * channels);
    for (index_t c = 0; c < channels; ++c) {
      const float added = value[c] - lost[c];
      const float next = sum[c] + added;
      lost[c] = (next - sum[c]) - added;
      sum[c] = next;
    }
  });
  for (index_t c = 0; c < channels; ++c) {
    using out_type = typename decltype(sequence.out())::value_type;
    sequence.out()(0, head, row, c) =
        static_cast<out_type>(static_cast<float>(static_cast<double>(sum[c]) / total));
  }
  // An lse below the range of float32 becomes the lowest float: -inf would say that no key is seen.
  constexpr auto lowest = static_cast<double>(std::numeric_limits<float>::lowest());
  const auto write = [&](const std::optional<view<float, 3>>& statistic, double number) {
    if (statistic) (*statistic)(0, head, row) = static_cast<float>(number);
  };
  if (sequence.lse.data != nullptr) {
    sequence.lse(0, head, row) = static_cast<float>(std::max(top + std::log(total), lowest));
  }
  write(sequence.statistics.max_probability, 1.0 / total);
  write(sequence.statistics.entropy, std::log(total));
}

}  // namespace relpos::inline RELPOS_ABI
