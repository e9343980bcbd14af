#pragma once
// The text that the demo attends over, and its embedding.

#include <relpos/relpos.hpp>

#include <string>

namespace demo {

using namespace relpos;

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline constexpr int heads = 8;
inline constexpr int head_dim = 64;

/// Numbers in [-1, 1] that are the same on every machine.
class fixed_numbers {
 public:
  explicit fixed_numbers(unsigned seed) : state_(seed) {}
  float next();
  matrix next_matrix(int rows, int columns);

 private:
  unsigned long long state_;
};

struct projections {
  tensor q;
  tensor k;
  tensor v;
};

/// The model before attention: it adds nothing to its embeddings; it adds sinusoids to them; or, as
/// T5, it has weights for scores that are not divided by sqrt(head_dim).
enum class input { plain, sinusoidal, unscaled };

/// Embeds each byte by a fixed table and projects it to q, k and v, so that scores have a standard
/// deviation of about 1.
projections project(const std::string& text, input kind);

}  // namespace demo
