// ALiBi over Eigen tensors.

#include <cstdio>
#include <relpos/relpos.hpp>

int main() {
  using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
  Tensor q(1, 8, 256, 64), k(1, 8, 256, 64), v(1, 8, 256, 64);
  q.setConstant(0.1f), k.setConstant(0.1f);
  for (int i = 0; i < v.size(); ++i) v.data()[i] = float(i / 64 % 256);  // a value is its position
  const auto slopes = relpos::alibi_slopes(8);
  const Tensor out = relpos::attention(q, k, v, relpos::alibi{slopes}, relpos::causal{});
  std::printf("head 0 looks at position %.1f, head 7 at %.1f\n", out(0, 0, 255, 0),
              out(0, 7, 255, 0));
}
