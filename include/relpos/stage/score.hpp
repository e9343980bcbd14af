#pragma once
// What is done to a score between product and softmax: bias, factor of its row, mask. `Real` is a
// score or a vector of them, `Integer` as many row numbers. Scores, and so what is added, are in
// units of the exponent: `factor` is log2(e) / temperature.

#include <algorithm>
#include <limits>

#include "relpos/contract/policy.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// A bias that is computed from the distance.
template <class HeadPolicy, class Real>
RELPOS_INLINE constexpr Real add_computed_bias(Real score, const HeadPolicy& policy, Real distance,
                                               Real factor) {
  return fma(Real(policy.bias(distance)), factor, score);
}

/// The policy can take the factor into its own numbers before the loop.
template <class HeadPolicy>
concept folds_factor = requires(const HeadPolicy& policy) { policy.scaled(1.0f); };

/// A computed bias that has taken the factor in.
template <class HeadPolicy, class Real>
RELPOS_INLINE constexpr Real add_folded_bias(Real score, const HeadPolicy& folded, Real distance) {
  if constexpr (requires { folded.add_to(score, distance); }) {
    return folded.add_to(score, distance);
  } else {
    return score + folded.bias(distance);
  }
}

/// A bias that is tabulated: an entry times the factor, or the gate of its row.
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

/// A bias from a matrix of the caller's, in units of the exponent. A large finite one may overflow
/// there: only infinity is to be infinite.
constexpr float scaled_element(float bias, float factor) {
  constexpr float largest = std::numeric_limits<float>::max();
  if (bias > largest || bias < -largest) return bias;
  return std::clamp(bias * factor, -largest, largest);
}

/// A score that is to have no weight.
inline constexpr float hidden_score = -std::numeric_limits<float>::infinity();

/// Whether range masks, which leave keys [first, last), show this one.
template <class Integer>
RELPOS_INLINE constexpr auto range_shows(Integer key, Integer first, Integer last) {
  return (first <= key) & (key < last);
}

/// Replaced, never added to: what is hidden may be NaN.
template <class Seen, class Real>
RELPOS_INLINE constexpr Real hidden_unless(Seen seen, Real score) {
  return select(seen, score, Real(hidden_score));
}

/// The last stage before the mask: the factor by which logit scaling multiplies the logits of a row, bias
/// included. A key that a bias hides stays hidden where the factor is 0 or negative.
template <class Real>
RELPOS_INLINE constexpr Real times_row_factor(Real score, Real factor) {
  const Real hidden(hidden_score);
  return select(score == hidden, hidden, score * factor);
}

}  // namespace relpos::inline RELPOS_ABI
