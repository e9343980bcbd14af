#pragma once
// Softmax of rows of scores under a causal mask, with Eigen's vectorised exponential.

#include "head.hpp"

namespace relpos::bench {

/// Turns scores into weights. Row r of `scores` belongs to query first + r. Scores of keys that it
/// sees get the bias and become e^(s - maximum), the others become 0. Weights are not divided by
/// their sum, because dividing the output is cheaper: `inverse_sums` are the factors.
template <class Scores>
void causal_weights(Scores& scores, const head& of, index_t first, Eigen::VectorXf& inverse_sums) {
  for (index_t r = 0; r < scores.rows(); ++r) {
    // Masked keys are left out instead of set to -inf: Eigen 3.4's vectorised exponential of -inf
    // is not 0.
    const index_t visible = first + r + 1;
    auto row = scores.row(r).head(visible).array();
    if (of.bias) {
      const float* const bias = of.bias + (first + r) * of.length();
      row += Eigen::Map<const Eigen::RowVectorXf>(bias, visible).array();
    }
    row = (row - row.maxCoeff()).exp();
    inverse_sums[r] = 1.0f / row.sum();
    scores.row(r).tail(scores.cols() - visible).setZero();
  }
}

}  // namespace relpos::bench
