#pragma once
// Which temperature makes attention over a long input as sharp as it was at the training length (Chi, Fan,
// Rudnicky, "Attention Alignment and Flexible Positional Embeddings Improve Transformer Length
// Extrapolation", arXiv 2311.00684). Two things can be aligned, each as its mean over rows:
//
//   the logarithm of the largest probability     the entropy
//
// Both are monotone in the temperature, so that statistics of the model's own logits settle it
// (aligned_temperature). For independent Gaussian logits there are closed forms.

#include <cmath>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Entropy alignment of Gaussian logits of standard deviation `sigma` > 0:
/// sigma / sqrt(sigma^2 + 2 ln(length / train_length)).
///
/// Against sampled logits it is too high, by at most 7 % for sigma up to 2, and by more, too close to 1, as
/// sigma nears sqrt(2 ln train_length): a few keys then hold most of the weight.
inline double entropy_temperature(double sigma, index train_length, index length) {
  const double ratio = static_cast<double>(length) / static_cast<double>(train_length);
  return sigma / std::sqrt(sigma * sigma + 2.0 * std::log(ratio));
}

/// Maximum-probability alignment of the same logits:
/// sigma / (sigma + sqrt(2 ln length) - sqrt(2 ln train_length)). Too high, by 3 to 13 % for
/// sigma of 2 to 4.
inline double max_probability_temperature(double sigma, index train_length, index length) {
  const auto largest = [](index n) { return std::sqrt(2.0 * std::log(static_cast<double>(n))); };
  return sigma / (sigma + (largest(length) - largest(train_length)));
}

/// The temperature in [1 / sharpest, 1] at which `statistic(temperature)` equals `target`, by bisection of
/// its inverse to a millionth. The statistic rises or falls with the temperature; where `target` is out of
/// its reach, the nearer end is returned.
template <class Statistic>
double aligned_temperature(const Statistic& statistic, double target, double sharpest = 64.0) {
  double low = 1.0;  // of 1 / temperature
  double high = sharpest;
  const double at_low = static_cast<double>(statistic(1.0 / low));
  const double at_high = static_cast<double>(statistic(1.0 / high));
  const double direction = at_high > at_low ? 1.0 : -1.0;
  if ((target - at_low) * direction <= 0.0) return 1.0 / low;
  if ((target - at_high) * direction >= 0.0) return 1.0 / high;
  while (high - low > 1e-6 * low) {
    const double middle = 0.5 * (low + high);
    const bool beyond = (static_cast<double>(statistic(1.0 / middle)) - target) * direction > 0.0;
    (beyond ? high : low) = middle;
  }
  return 2.0 / (low + high);
}

}  // namespace relpos::inline RELPOS_ABI
