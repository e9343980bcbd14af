#pragma once
// The temperature that makes attention over a long input as sharp as at the training length (Chi,
// Fan, Rudnicky, "Attention Alignment and Flexible Positional Embeddings Improve Transformer Length
// Extrapolation", arXiv 2311.00684). One of two statistics is aligned, as its mean over rows:
//
//   the logarithm of the largest probability     the entropy
//
// The statistics, their rows and the solver are this library's, after the idea of the paper, of
// which only the abstract was at hand.
//
// Both are monotone in the temperature, so statistics of the model's own logits determine it
// (align_temperatures.hpp measures them in the fused pass). Independent Gaussian logits have closed
// forms.

#include <cmath>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup alignment
/// @{

/// The temperature of entropy alignment for Gaussian logits.
///
/// For standard deviation `sigma` > 0 it is sigma / sqrt(sigma^2 + 2 ln(length / train_length)).
/// length is at least train_length.
///
/// Compared with sampled logits it is too high: by at most 7 % for sigma up to 2, and by more, too
/// close to 1, when sigma nears sqrt(2 ln train_length), because a few keys then hold most of the
/// weight.
inline double entropy_temperature(double sigma, index_t train_length, index_t length) {
  const double ratio = static_cast<double>(length) / static_cast<double>(train_length);
  return sigma / std::sqrt(sigma * sigma + 2.0 * std::log(ratio));
}

/// The temperature of maximum-probability alignment for Gaussian logits.
///
/// sigma / (sigma + sqrt(2 ln length) - sqrt(2 ln train_length)). length is at least train_length.
/// The result is too high, by 3 to 13 % for sigma of 2 to 4.
inline double max_probability_temperature(double sigma, index_t train_length, index_t length) {
  const auto largest = [](index_t n) { return std::sqrt(2.0 * std::log(static_cast<double>(n))); };
  return sigma / (sigma + (largest(length) - largest(train_length)));
}

/// A search for the temperature in [1 / sharpest, 1] at which a statistic equals a target.
///
/// Bisection of 1 / temperature to a relative 1e-6. The statistic is monotone in the temperature.
/// If it does not reach the target, the result is the nearer end. `target` and the statistics are
/// not NaN.
///
///   for (temperature_search search(target); !search.is_done();) search.tell(statistic(search.ask()));
class temperature_search {
 public:
  /// Begins a search; 1 / `sharpest` is the lowest temperature.
  explicit temperature_search(double target, double sharpest = 64.0)
      : target_(target), high_(sharpest) {}

  /// Whether `ask` returns the result.
  bool is_done() const { return steps_ >= 2 && !(high_ - low_ > 1e-6 * low_); }

  /// The temperature at which to evaluate the statistic next; when done, the result.
  double ask() const {
    if (steps_ == 0) return 1.0 / low_;
    if (steps_ == 1) return 1.0 / high_;
    return 2.0 / (low_ + high_);
  }

  /// Takes the statistic at the temperature that `ask` returned.
  void tell(double statistic) {
    ++steps_;
    if (steps_ == 1) {
      low_statistic_ = statistic;
    } else if (steps_ == 2) {
      direction_ = statistic > low_statistic_ ? 1.0 : -1.0;
      if ((target_ - low_statistic_) * direction_ <= 0.0) {
        high_ = low_;
      } else if ((target_ - statistic) * direction_ >= 0.0) {
        low_ = high_;
      }
    } else {
      const bool overshoots = (statistic - target_) * direction_ > 0.0;
      (overshoots ? high_ : low_) = 0.5 * (low_ + high_);
    }
  }

 private:
  double target_;
  double low_ = 1.0;  // low_ and high_: bounds of 1 / temperature
  double high_;
  double low_statistic_ = 0.0;
  double direction_ = 1.0;
  int steps_ = 0;
};

/// Returns the temperature in [1 / sharpest, 1] at which statistic(temperature) equals the target.
template <class Statistic>
double aligned_temperature(const Statistic& statistic, double target, double sharpest = 64.0) {
  temperature_search search(target, sharpest);
  while (!search.is_done()) search.tell(static_cast<double>(statistic(search.ask())));
  return search.ask();
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
