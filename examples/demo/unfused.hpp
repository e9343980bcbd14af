#pragma once
// Attention written with nothing but Eigen's matrix products: the yardstick of the demo. The bias
// and the mask are a matrix in memory, the scores of a head are another.

#include <cmath>
#include <cstddef>
#include <optional>
#include <vector>

#include "text.hpp"

namespace demo {

/// Cosines and sines that a model computes once, [length, head_dim / 2] each, for half-split pairs.
struct rotation {
  matrix query_cosines, query_sines;
  matrix key_cosines, key_sines;

  /// Pair i rotates by theta(i) with every position. For XPOS the query also grows by zeta(i) from
  /// one position to the next, and the key by the inverse, both relative to the middle of the
  /// sequence.
  template <class Theta, class Zeta>
  rotation(int length, const Theta& theta, const Zeta& zeta)
      : query_cosines(length, head_dim / 2),
        query_sines(length, head_dim / 2),
        key_cosines(length, head_dim / 2),
        key_sines(length, head_dim / 2) {
    for (int at = 0; at < length; ++at) {
      for (int i = 0; i < head_dim / 2; ++i) {
        const double growth = std::pow(zeta(i), at - length / 2);
        const double cosine = std::cos(at * theta(i));
        const double sine = std::sin(at * theta(i));
        query_cosines(at, i) = static_cast<float>(cosine * growth);
        query_sines(at, i) = static_cast<float>(sine * growth);
        key_cosines(at, i) = static_cast<float>(cosine / growth);
        key_sines(at, i) = static_cast<float>(sine / growth);
      }
    }
  }
};

class unfused_attention {
 public:
  /// bias(head, q_pos, k_pos) is called once for each element and returns -inf for a masked one.
  /// The demo does not time this.
  template <class Bias>
  unfused_attention(int length, float scale, const Bias& bias,
                    std::optional<rotation> rotors = std::nullopt)
      : scale_(scale), rotors_(std::move(rotors)), scores_(length, length) {
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

  /// The bytes of the bias of all heads, the scores of one head, and the rotation.
  std::size_t bytes() const;

 private:
  float scale_;
  std::optional<rotation> rotors_;
  std::vector<matrix> biases_;
  matrix scores_;
};

}  // namespace demo
