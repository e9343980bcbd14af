#pragma once
// The stages of a score between product and softmax: bias, cap, row factor, mask. `Real` is a score
// or a vector of scores, `Integer` a key row or a vector of key rows. Scores and biases are in
// units of the exponent, base 2: `factor` is log2(e) / temperature.

#include <algorithm>
#include <limits>

#include "relpos/contract/policy.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// Adds a bias that is computed from the distance.
template <class HeadPolicy, class Real>
RELPOS_INLINE constexpr Real add_computed_bias(Real score, const HeadPolicy& policy, Real distance,
                                               Real factor) {
  return fma(Real(policy.bias(distance)), factor, score);
}

/// The policy can fold the factor into its parameters before the loop.
template <class HeadPolicy>
concept folds_factor = requires(const HeadPolicy& policy) { policy.scaled(1.0f); };

/// Adds a computed bias with a folded factor.
template <class HeadPolicy, class Real>
RELPOS_INLINE constexpr Real add_folded_bias(Real score, const HeadPolicy& folded, Real distance) {
  if constexpr (requires { folded.add_to(score, distance); }) {
    return folded.add_to(score, distance);
  } else {
    return score + folded.bias(distance);
  }
}

/// Adds a tabulated bias: `entry` times `gate`, the table_gate of the row.
template <class Real>
RELPOS_INLINE constexpr Real add_tabulated_bias(Real score, Real entry, Real gate) {
  return fma(entry, gate, score);
}

/// The factor of a row's table entries.
template <class HeadPolicy>
constexpr float table_gate([[maybe_unused]] const HeadPolicy& policy,
                           [[maybe_unused]] index_t query_row, float factor) {
  if constexpr (gates_rows<HeadPolicy>) {
    return policy.row_gate(query_row) * factor;
  } else {
    return factor;
  }
}

/// An element of the caller's bias matrix in units of the exponent. A large finite element may
/// overflow there, so finite products are clamped: only an infinite element stays infinite.
constexpr float scaled_element(float bias, float factor) {
  constexpr float largest = std::numeric_limits<float>::max();
  if (bias > largest || bias < -largest) return bias;
  return std::clamp(bias * factor, -largest, largest);
}

/// The score of a hidden key; its weight is 0.
inline constexpr float hidden_score = -std::numeric_limits<float>::infinity();

/// Whether range masks that leave keys [first, last) show `key`.
template <class Integer>
RELPOS_INLINE constexpr auto range_shows(Integer key, Integer first, Integer last) {
  return (first <= key) & (key < last);
}

/// `score` if `seen`, else hidden_score. The score is replaced, never added to: the score of a
/// hidden key may be NaN.
template <class Seen, class Real>
RELPOS_INLINE constexpr Real hidden_unless(Seen seen, Real score) {
  return select(seen, score, Real(hidden_score));
}

/// Caps a score, bias included: cap tanh(score / cap), in units of the exponent. A key that a bias
/// hides stays hidden.
template <class Tanh, class Real>
RELPOS_INLINE constexpr Real capped_score(const Tanh& tanh, Real score, Real cap, Real inverse) {
  const Real hidden(hidden_score);
  return select(score == hidden, hidden, cap * tanh(score * inverse));
}

/// The last stage before the mask: multiplies a logit, bias included, by the logit scaling factor
/// of its row. A key that a bias hides stays hidden if the factor is 0 or negative.
template <class Real>
RELPOS_INLINE constexpr Real times_row_factor(Real score, Real factor) {
  const Real hidden(hidden_score);
  return select(score == hidden, hidden, score * factor);
}

}  // namespace relpos::inline RELPOS_ABI
