#include <array>
#include <cmath>
#include <relpos/relpos.hpp>

int main() {
  using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
  tensor q(1, 2, 5, 8), k(1, 2, 5, 8), v(1, 2, 5, 8);
  q.setConstant(0.5f);
  k.setConstant(0.25f);
  v.setConstant(2.0f);
  const std::array<float, 2> slopes{0.0625f, 0.00390625f};
  const tensor out = relpos::attention(q, k, v, relpos::alibi{slopes}, relpos::causal{});
  // Every value is 2, so every weighted mean is 2.
  return std::abs(out(0, 1, 4, 7) - 2.0f) < 1e-6f ? 0 : 1;
}
