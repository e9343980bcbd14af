// ALiBi over Eigen tensors.

#include <cmath>
#include <cstdio>
#include <relpos/relpos.hpp>

using namespace relpos;

int main() {
  using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
  Tensor q(1, 8, 256, 64), k(1, 8, 256, 64), v(1, 8, 256, 64);
  for (int i = 0; i < q.size(); ++i) {
    q.data()[i] = k.data()[i] = std::sin(float(i));
    v.data()[i] = float(i / 64 % 256);  // each value is its position
  }
  const auto slopes = alibi_slopes(8);
  const Tensor out = attention(q, k, v, alibi{slopes}, causal{});
  std::printf("query 255 looks at position %.1f in head 0, at %.1f in head 7\n", out(0, 0, 255, 0),
              out(0, 7, 255, 0));
}
