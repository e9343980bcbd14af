#pragma once
// Attention as one writes it with Eigen's matrix products alone: the yardstick of the demo. The bias and
// the mask are a matrix in memory, the scores of a head are another.

#include <cstddef>
#include <vector>

#include "text.hpp"

namespace demo {

class unfused_attention {
 public:
  /// `bias(head, q_pos, k_pos)` is asked once for each element, -inf for what is masked. Not timed.
  template <class Bias>
  unfused_attention(int length, float scale, const Bias& bias)
      : scale_(scale), scores_(length, length) {
    for (int head = 0; head < heads; ++head) {
      matrix& of_head = biases_.emplace_back(length, length);
      for (int q_pos = 0; q_pos < length; ++q_pos) {
        for (int k_pos = 0; k_pos < length; ++k_pos) {
          of_head(q_pos, k_pos) = bias(head, q_pos, k_pos);
        }
      }
    }
  }

  void operator()(tensor& out, const projections& in);

  /// Of the bias of all heads and the scores of one.
  std::size_t bytes() const;

 private:
  float scale_;
  std::vector<matrix> biases_;
  matrix scores_;
};

}  // namespace demo
