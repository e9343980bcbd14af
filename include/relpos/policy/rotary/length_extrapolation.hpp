#pragma once
// The measures by which LeX (Sun et al., "A Length-Extrapolatable Transformer", arXiv 2212.10554) judges
// position encodings: how the expected score falls with distance, and how well attention tells positions
// apart.

#include <cmath>
#include <cstddef>
#include <span>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// zeta of XPOS for one channel pair, (2 i / rotary_dim + gamma) / (1 + gamma): what remains of the pair's
/// part of a score after scale_base positions.
inline double xpos_decay(index pair, index rotary_dim, double gamma = 0.4) {
  const double part = 2.0 * static_cast<double>(pair) / static_cast<double>(rotary_dim);
  return 1.0 - (1.0 - part) / (1.0 + gamma);
}

/// The expectation curve of XPOS, g(distance) = sum over pairs of cos(distance theta_i) zeta_i^(distance /
/// scale_base): proportional to the expected score of a key so many positions back. `radians` are theta.
/// gamma infinite is RoPE: zeta is 1.
inline double expected_score(std::span<const double> radians, index distance, double gamma = 0.4,
                             double scale_base = 512.0) {
  const auto n = static_cast<double>(distance);
  double sum = 0.0;
  for (std::size_t i = 0; i < radians.size(); ++i) {
    const double decay =
        xpos_decay(static_cast<index>(i), 2 * static_cast<index>(radians.size()), gamma);
    sum += std::cos(n * radians[i]) * std::pow(decay, n / scale_base);
  }
  return sum;
}

/// Attention resolution, sum over i of e^(s_i) (e^(s_i) - e^(s_(i+1))) / (sum over i of e^(s_i))^2, where
/// scores[i] is the score at distance i. Larger is better; 0 for scores that do not depend on the distance,
/// and for fewer than two.
inline double attention_resolution(std::span<const double> scores) {
  double largest = -INFINITY;
  for (const double score : scores) largest = std::fmax(largest, score);
  double sum = 0.0;
  double gain = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double here = std::exp(scores[i] - largest);
    sum += here;
    if (i + 1 < scores.size()) gain += here * (here - std::exp(scores[i + 1] - largest));
  }
  return sum > 0.0 ? gain / (sum * sum) : 0.0;
}

}  // namespace relpos::inline RELPOS_ABI
