#pragma once
// The statistics of rows, computed in the same pass as attention. Logits s are in units of the
// exponent, base 2; `Real` is a float, for one row, or a vector, for several rows.

#include <cmath>

#include "relpos/call/scale.hpp"
#include "relpos/core/math.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// The spread, the sum of weight (s - m), after the largest exponent m rises from `old_maximum` to
/// `new_maximum`. `rescale` multiplies the weights so far, whose sum is `weight_sum`.
template <class Real>
RELPOS_INLINE constexpr Real raised_spread(Real spread, Real old_maximum, Real new_maximum,
                                           Real weight_sum, Real rescale) {
  const Real raised = rescale * fma(old_maximum - new_maximum, weight_sum, spread);
  return select(rescale == Real(0.0f), Real(0.0f), raised);
}

/// The spread with one more logit. Below the cut of exp2 the weight is 0, and the difference does
/// not matter unless it is infinite.
template <class Real>
RELPOS_INLINE constexpr Real add_spread(Real spread, Real score, Real maximum, Real weight) {
  return fma(weight, max(score - maximum, Real(-256.0f)), spread);
}

/// The count, the mean and the sum of (s - mean)^2 of the logits of a row. Logits are summed
/// relative to the mean so far, in the first tile relative to one of its logits: sums of squares
/// about zero would lose a small variance.
template <class Real>
class logit_moments {
 public:
  Real count;
  Real mean;
  Real squares;

  RELPOS_INLINE constexpr logit_moments(Real logit_count, Real logit_mean, Real square_sum)
      : count(logit_count), mean(logit_mean), squares(square_sum), sum_(0.0f) {}

  /// Begins a tile; `origin` is one of its logits.
  RELPOS_INLINE constexpr void begin_tile(Real origin) {
    mean = select(count == Real(0.0f), origin, mean);
    sum_ = Real(0.0f);
  }
  /// Adds one logit. A hidden score is not counted. NaN is counted: the row's moments become NaN.
  RELPOS_INLINE constexpr void add(Real score) {
    const auto hidden = score == Real(hidden_score);
    const Real difference = select(hidden, Real(0.0f), score - mean);
    count = count + select(hidden, Real(0.0f), Real(1.0f));
    sum_ = sum_ + difference;
    squares = fma(difference, difference, squares);
  }
  RELPOS_INLINE constexpr void end_tile() {
    const Real step = sum_ / max(count, Real(1.0f));
    mean = mean + step;
    squares = fma(-step, sum_, squares);
  }

 private:
  Real sum_;  // of s - mean
};

/// The statistics of a row as the call writes them, in natural units.
struct finished_statistics {
  float max_probability;
  float entropy;
  float logit_count;
  float logit_mean;
  float logit_variance;
};

/// The statistics of one row. Its weights sum to `weight_sum`; weight * factor is a probability.
RELPOS_HOST_DEVICE inline finished_statistics finish_statistics(float spread,
                                                                const logit_moments<float>& moments,
                                                                float weight_sum, float factor) {
  const auto not_negative = [](float x) { return x < 0.0f ? 0.0f : x; };  // rounding; NaN stays
  const bool empty = weight_sum == 0.0f || factor == 0.0f;
  const bool no_logits = moments.count == 0.0f;
  // - sum of p ln p, where ln p = ln 2 (s - m) + ln factor.
  const float entropy = -factor * (weight_sum * std::log(factor) + ln2 * spread);
  const float square = no_logits ? 0.0f : moments.squares / moments.count;
  return {empty ? 0.0f : factor, empty ? 0.0f : not_negative(entropy), moments.count,
          no_logits ? 0.0f : moments.mean * ln2, not_negative(square) * (ln2 * ln2)};
}

}  // namespace relpos::inline RELPOS_ABI
