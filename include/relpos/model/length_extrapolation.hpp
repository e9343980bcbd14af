#pragma once
// The measures by which LeX (Sun et al., "A Length-Extrapolatable Transformer", arXiv 2212.10554)
// judges position encodings: how the expected score falls with distance, and how well attention
// tells positions apart.

#include <cmath>
#include <cstddef>
#include <span>

#include "relpos/core/index.hpp"
#include "relpos/model/frequencies.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup measures
/// @{

/// The expectation curve of a rotation: how the expected score falls with the distance.
///
/// g(n) is the sum over pairs of cos(n theta_i) zeta_i^(n / scale_base). The expected score of a
/// key n = `positions_back` before the query is proportional to it. `frequencies` is the result of
/// `rope_frequencies`, `xpos_frequencies` or another function of frequencies.hpp.
inline double expected_score(const rotary_frequencies& frequencies, index_t positions_back) {
  const auto n = static_cast<double>(positions_back);
  double sum = 0.0;
  for (std::size_t i = 0; i < frequencies.radians.size(); ++i) {
    const double log2_decay = frequencies.log2_decay.empty() ? 0.0 : frequencies.log2_decay[i];
    sum += std::cos(n * frequencies.radians[i]) * std::exp2(n * log2_decay);
  }
  return sum;
}

/// Attention resolution: how well attention tells positions apart.
///
/// Sum over i of e^(s_i) (e^(s_i) - e^(s_(i+1))) / (sum over i of e^(s_i))^2, where scores[i] is
/// the score at distance i. Larger is better; 0 for scores that do not depend on the distance, and
/// for fewer than two.
inline double attention_resolution(std::span<const double> scores) {
  double largest = -INFINITY;
  for (const double score : scores) largest = std::fmax(largest, score);
  double sum = 0.0;
  double gain = 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - largest);
    sum += weight;
    if (i + 1 < scores.size()) gain += weight * (weight - std::exp(scores[i + 1] - largest));
  }
  return sum > 0.0 ? gain / (sum * sum) : 0.0;
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
