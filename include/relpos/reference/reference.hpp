#pragma once
// Attention by its definition, one score at a time, in the arithmetic type `Real`: the oracle of
// the fused kernels (double), and the measure of their rounding (float). It has the same policies,
// and neither tiles nor tables nor memory beyond one row: three passes over the visible keys
// recompute each score.

#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/problem.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/call/selected_rows.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// One query row of one head.
template <class Real, class Problem>
class reference_row {
 public:
  reference_row(const problem_sequence<Problem>& sequence, index_t head, index_t row)
      : sequence_(sequence),
        q_(sequence.q()),
        k_(sequence.call.source.keys_of(sequence.at)),
        v_(sequence.call.source.values_of(sequence.at)),
        head_(head),
        key_head_(sequence.shape.key_head(head)),
        row_(row),
        selection_(selection_masks(sequence.call.policies, sequence.at, key_head_,
                                   sequence.position.query_offset)),
        position_(row_positions(sequence.call.policies, sequence.position, sequence.at)),
        head_policies_(bind_all(sequence.call.policies, sequence.at, head)),
        temperature_(
            static_cast<Real>(softmax_temperature(sequence.call.policies, sequence.at, head))) {
    index_t visible = 0;
    if constexpr (Problem::has_row_factor) {
      for (index_t key = 0; key < sequence.shape.key_length; ++key) visible += sees(key) ? 1 : 0;
    }
    factor_ = static_cast<Real>(logit_factor(head_policies_, row, position_.query(row), visible));
    cap_ = static_cast<Real>(cap_after_bias(head_policies_));
    sink_ = static_cast<Real>(sink_logit(head_policies_, row));
  }

  Real sink() const { return sink_; }

  bool sees(index_t key) const {
    const implicit_positions implicit{sequence_.position};  // masks read implicit positions
    const bool is_shown = all_policies([&](const auto&, const auto& head_policy) {
      return relpos::sees(head_policy, implicit.query(row_), implicit.key(key));
    });
    return is_shown && all_keep(selection_, implicit.query(row_), implicit.key(key));
  }

  Real score(index_t key) const {
    Real s = product(key) * static_cast<Real>(sequence_.call.scale);
    const auto softcap = static_cast<Real>(sequence_.call.softcap());
    if (softcap > 0) s = softcap * std::tanh(s / softcap);
    all_policies([&](const auto& policy, const auto& head_policy) {
      s += bias(policy, head_policy, distance_for(policy, key), key);
      return true;
    });
    if (s == -std::numeric_limits<Real>::infinity()) return s;  // hidden, whatever follows
    if constexpr (Problem::caps_bias) s = cap_ * std::tanh(s / cap_);
    return s * factor_ / temperature_;
  }

  /// Adds `weight` times the value of a key.
  void add_value(index_t key, Real weight, const view<Real, 4>& out) const {
    const auto* const value = v_.address(0, key_head_, key, 0);
    Real* const sum = out.address(0, head_, row_, 0);
    const index_t value_stride = v_.strides[3];
    const index_t sum_stride = out.strides[3];
    const index_t channels = sequence_.shape.value_dim;
    for (index_t c = 0; c < channels; ++c) {
      sum[c * sum_stride] += weight * real(value[c * value_stride]);
    }
  }

 private:
  template <class Stored>
  static Real real(Stored x) {
    return static_cast<Real>(static_cast<float>(x));
  }

  index_t distance(index_t key, index_t axis) const {
    return position_.key(key, axis) - position_.query(row_, axis);
  }

  /// The distance that a bias reads.
  template <class Policy>
  index_t distance_for([[maybe_unused]] const Policy& policy, index_t key) const {
    if constexpr (reads_axis<Policy>) return distance(key, policy.axis());
    return distance(key, 0);
  }

  /// R q.R k, computed with the rotor of the distance.
  Real product(index_t key) const {
    Real rotated = 0;
    rotated_channels rotating;
    with_rotation(sequence_.call.policies, [&](const auto& policy) {
      rotated = rotated_product(policy, key);
      rotating = policy.rotations().channels();
    });
    const Real before = add_plain_product(rotated, key, 0, rotating.first);
    return add_plain_product(before, key, rotating.end(), sequence_.shape.head_dim);
  }

  template <class Rotation>
  Real rotated_product(const Rotation& policy, index_t key) const {
    const rotation_rows rotations = policy.rotations();
    const bool interleaved = rotations.layout == pair_layout::interleaved;
    // The factor of both tables, read at offset 0 of a block, where nothing is rotated yet.
    const auto factor = static_cast<Real>(rotations.queries[0]);
    const auto* const q = q_.address(0, head_, row_, 0);
    const auto* const k = k_.address(0, key_head_, key, 0);
    const index_t q_stride = q_.strides[3];
    const index_t k_stride = k_.strides[3];
    Real sum = 0;
    for (index_t i = 0; i < rotations.pairs; ++i) {
      const index_t a = rotations.first_channel + (interleaved ? 2 * i : i);
      const index_t b = a + (interleaved ? 1 : rotations.pairs);
      const rotor rotation = policy.relative_rotor(i, distance(key, rotations.axis_of(i)));
      const Real q_a = real(q[a * q_stride]), q_b = real(q[b * q_stride]);
      const Real k_a = real(k[a * k_stride]), k_b = real(k[b * k_stride]);
      const Real along = q_a * k_a + q_b * k_b;
      const Real across = q_b * k_a - q_a * k_b;
      sum += factor * factor *
             (along * static_cast<Real>(rotation.real) -
              across * static_cast<Real>(rotation.imaginary));
    }
    return sum;
  }

  /// `sum` plus the product of channels [first, last).
  Real add_plain_product(Real sum, index_t key, index_t first, index_t last) const {
    const auto* const q = q_.address(0, head_, row_, 0);
    const auto* const k = k_.address(0, key_head_, key, 0);
    const index_t q_stride = q_.strides[3];
    const index_t k_stride = k_.strides[3];
    for (index_t c = first; c < last; ++c) sum += real(q[c * q_stride]) * real(k[c * k_stride]);
    return sum;
  }

  template <class Policy, class HeadPolicy>
  Real bias(const Policy& policy, const HeadPolicy& head_policy, index_t distance,
            index_t key) const {
    if constexpr (computes_bias<HeadPolicy>) {
      return head_policy.bias(static_cast<Real>(distance));
    } else if constexpr (tabulates_bias<Policy>) {
      const auto tabulated = static_cast<Real>(policy.tabulated_bias(head_, distance));
      if constexpr (gates_rows<HeadPolicy>) {
        return static_cast<Real>(head_policy.row_gate(row_)) * tabulated;
      }
      return tabulated;
    } else if constexpr (mixes_bias<Policy>) {
      Real sum = 0;
      for (index_t term = 0; term < policy.terms(); ++term) {
        sum += static_cast<Real>(head_policy.coefficient(row_, term)) *
               static_cast<Real>(policy.tabulated_term(head_, term, distance));
      }
      return sum;
    } else if constexpr (stores_bias<HeadPolicy>) {
      return static_cast<Real>(head_policy.bias_element(row_, key));
    } else if constexpr (has_key_terms<HeadPolicy>) {
      const implicit_positions implicit{sequence_.position};
      return static_cast<Real>(sum_of_terms(head_policy, implicit.query(row_), implicit.key(key)));
    } else {
      return Real(0);
    }
  }

  template <class Ask>
  bool all_policies(Ask&& ask) const {
    return [&]<std::size_t... I>(std::index_sequence<I...>) {
      return (ask(std::get<I>(sequence_.call.policies), std::get<I>(head_policies_)) && ... &&
              true);
    }(std::make_index_sequence<std::tuple_size_v<head_policies>>());
  }

  using head_policies = decltype(bind_all(std::declval<Problem>().policies, index_t{}, index_t{}));

  const problem_sequence<Problem>& sequence_;
  decltype(Problem::q) q_;  // of the sequence
  decltype(std::declval<Problem>().source.k) k_;
  decltype(std::declval<Problem>().source.v) v_;
  index_t head_;
  index_t key_head_;
  index_t row_;
  selection_masks_of<decltype(Problem::policies)> selection_;
  row_positions_of<decltype(Problem::policies)> position_;
  head_policies head_policies_;
  Real temperature_;
  Real factor_ = 1;  // of the logits
  Real cap_ = 0;     // of score and bias
  Real sink_ = 0;
};

/// Writes the statistics of one row, rounded to float. `sum` is the sum of exponentials relative to
/// `origin`.
template <class Real, class Problem>
void reference_statistics(const problem_sequence<Problem>& sequence,
                          const reference_row<Real, Problem>& row, index_t head, index_t query,
                          Real origin, Real sum) {
  Real largest = 0;
  Real entropy = 0;
  Real count = 0;
  Real mean = 0;
  Real squares = 0;  // of differences from the mean: Welford's recurrence
  for (index_t key = 0; key < sequence.shape.key_length; ++key) {
    if (!row.sees(key)) continue;
    const Real score = row.score(key);
    if (score == -std::numeric_limits<Real>::infinity()) continue;
    const Real probability = std::exp(score - origin) / sum;
    if (!(probability <= largest)) largest = probability;  // NaN too
    if (probability != 0) entropy -= probability * std::log(probability);
    count += 1;
    const Real difference = score - mean;
    mean += difference / count;
    squares += difference * (score - mean);
  }
  const auto write = [&](const std::optional<view<float, 3>>& statistic, Real value) {
    if (statistic) (*statistic)(0, head, query) = static_cast<float>(value);
  };
  write(sequence.statistics.max_probability, largest);
  write(sequence.statistics.entropy, entropy);
  write(sequence.statistics.logit_count, count);
  write(sequence.statistics.logit_mean, mean);
  write(sequence.statistics.logit_variance, count > 0 ? squares / count : Real(0));
}

/// Writes one row of out, lse and statistics. A row that sees no key, or only scores of -inf, has
/// out 0; without a sink its lse is -inf.
template <class Real, class Problem>
void reference_attention_row(const problem_sequence<Problem>& sequence, index_t head, index_t query,
                             const view<Real, 3>& lse) {
  const reference_row<Real, Problem> row(sequence, head, query);
  const view<Real, 4>& out = sequence.out();
  const index_t keys = sequence.shape.key_length;
  const index_t channels = sequence.shape.value_dim;
  const Real nothing = -std::numeric_limits<Real>::infinity();

  Real largest = row.sink();
  for (index_t key = 0; key < keys; ++key) {
    if (row.sees(key)) largest = max(row.score(key), largest);
  }
  const Real origin = largest == nothing ? Real(0) : largest;

  Real sum = std::exp(row.sink() - origin);
  for (index_t c = 0; c < channels; ++c) out(0, head, query, c) = 0;
  for (index_t key = 0; key < keys; ++key) {
    if (!row.sees(key)) continue;
    const Real weight = std::exp(row.score(key) - origin);
    sum += weight;
    if (weight == 0) continue;
    row.add_value(key, weight, out);
  }
  if (sum != 0) {
    for (index_t c = 0; c < channels; ++c) out(0, head, query, c) /= sum;
  }
  if (lse.data != nullptr) lse(0, head, query) = sum == 0 ? nothing : origin + std::log(sum);
  if (sequence.statistics.any()) {
    reference_statistics<Real>(sequence, row, head, query, origin, sum);
  }
}

}  // namespace relpos::inline RELPOS_ABI
