#pragma once
// Attention as its definition reads, one score at a time, in the arithmetic type `Real`: the oracle of
// the fused kernels (double), and the yardstick of their rounding (float). Same policies, no tiles, no
// tables, no memory beyond a row's: three passes over the visible keys recompute each score.

#include <cmath>
#include <limits>
#include <tuple>

#include "relpos/core/mask.hpp"
#include "relpos/core/math.hpp"
#include "relpos/kernel/problem.hpp"
#include "relpos/kernel/rotation.hpp"

namespace relpos::inline RELPOS_ABI {

/// One query row of one head.
template <class Real, class Problem>
class reference_row {
 public:
  reference_row(const Problem& problem, index batch, index head, index row)
      : problem_(problem),
        batch_(batch),
        head_(head),
        row_(row),
        q_pos_(row + problem.position.query_offset) {}

  bool sees(index key) const {
    const index k_pos = key + problem_.position.key_offset;
    return all_policies([&](const auto& policy) {
      return relpos::sees(bind(policy, batch_, head_), q_pos_, k_pos);
    });
  }

  Real score(index key) const {
    const index distance = key + problem_.position.key_offset - q_pos_;
    Real s = product(key, distance) * static_cast<Real>(problem_.scale);
    const auto softcap = static_cast<Real>(problem_.softcap);
    if (softcap > 0) s = softcap * std::tanh(s / softcap);
    all_policies([&](const auto& policy) {
      s += bias(policy, distance, key);
      return true;
    });
    return s / static_cast<Real>(softmax_temperature(problem_.policies, batch_, head_));
  }

  Real value(index key, index channel) const {
    return real(problem_.v(batch_, problem_.shape.key_head(head_), key, channel));
  }

 private:
  template <class Stored>
  static Real real(Stored x) {
    return static_cast<Real>(static_cast<float>(x));
  }

  Real query(index channel) const { return real(problem_.q(batch_, head_, row_, channel)); }
  Real key_value(index key, index channel) const {
    return real(problem_.k(batch_, problem_.shape.key_head(head_), key, channel));
  }

  /// R q.R k, by the turn between the two.
  Real product(index key, index distance) const {
    Real sum = 0;
    index plain = 0;  // channels from here on are not turned
    with_rotation(problem_.policies, [&](const auto& policy) {
      const rotation_rows rotations = policy.rotations();
      const bool interleaved = rotations.layout == pair_layout::interleaved;
      // The factor of both tables at an origin, where nothing is turned yet.
      const auto factor = static_cast<Real>(rotations.queries[0]);
      for (index i = 0; i < rotations.pairs; ++i) {
        const index a = interleaved ? 2 * i : i;
        const index b = interleaved ? 2 * i + 1 : i + rotations.pairs;
        const turn by = policy.relative_turn(i, distance);
        const Real along = query(a) * key_value(key, a) + query(b) * key_value(key, b);
        const Real across = query(b) * key_value(key, a) - query(a) * key_value(key, b);
        sum += factor * factor *
               (along * static_cast<Real>(by.real) - across * static_cast<Real>(by.imaginary));
      }
      plain = 2 * rotations.pairs;
    });
    for (index c = plain; c < problem_.shape.head_dim; ++c) sum += query(c) * key_value(key, c);
    return sum;
  }

  template <class Policy>
  Real bias(const Policy& policy, index distance, index key) const {
    const auto bound = bind(policy, batch_, head_);
    using bound_type = std::decay_t<decltype(bound)>;
    if constexpr (computes_bias<bound_type>) {
      return bound.bias(static_cast<Real>(distance));
    } else if constexpr (tabulates_bias<Policy>) {
      return static_cast<Real>(policy.tabulated_bias(head_, distance));
    } else if constexpr (stores_bias<bound_type>) {
      return static_cast<Real>(bound.bias_element(row_, key));
    } else {
      return Real(0);
    }
  }

  template <class Ask>
  bool all_policies(Ask&& ask) const {
    return std::apply([&](const auto&... each) { return (ask(each) && ... && true); },
                      problem_.policies);
  }

  const Problem& problem_;
  index batch_;
  index head_;
  index row_;
  index q_pos_;
};

/// One row of out and lse. A row that sees no key, or only scores of -inf, gives 0 and -inf.
template <class Real, class Problem>
void reference_attention_row(const Problem& problem, index batch, index head, index query,
                             const view<Real, 4>& out, const view<Real, 3>& lse) {
  const reference_row<Real, Problem> row(problem, batch, head, query);
  const index keys = problem.shape.key_length;
  const index channels = problem.shape.value_dim;
  const Real nothing = -std::numeric_limits<Real>::infinity();

  Real largest = nothing;
  for (index key = 0; key < keys; ++key) {
    if (row.sees(key)) largest = max(row.score(key), largest);
  }
  const Real origin = largest == nothing ? Real(0) : largest;

  Real sum = 0;
  for (index c = 0; c < channels; ++c) out(batch, head, query, c) = 0;
  for (index key = 0; key < keys; ++key) {
    if (!row.sees(key)) continue;
    const Real weight = std::exp(row.score(key) - origin);
    sum += weight;
    if (weight == 0) continue;
    for (index c = 0; c < channels; ++c) out(batch, head, query, c) += weight * row.value(key, c);
  }
  if (sum != 0) {
    for (index c = 0; c < channels; ++c) out(batch, head, query, c) /= sum;
  }
  if (lse.data != nullptr) lse(batch, head, query) = sum == 0 ? nothing : origin + std::log(sum);
}

}  // namespace relpos::inline RELPOS_ABI
