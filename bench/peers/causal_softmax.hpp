#pragma once
// Softmax of rows of scores under a causal mask, with Eigen's vectorised exponential.

#include "head.hpp"

namespace relpos::bench {

/// Row r of `scores` is that of query first + r: bias is added to the keys it sees, which become
/// e^(s - maximum), and the others become 0. A row's weights are not divided by their sum: that is
/// cheaper on the output.
template <class Scores>
void causal_weights(Scores& scores, const head& of, index_t first, Eigen::VectorXf& inverse_sums) {
  for (index_t r = 0; r < scores.rows(); ++r) {
    // Masked keys are left out and not set to -inf, of which Eigen 3.4's vectorised exponential is
    // not 0.
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
