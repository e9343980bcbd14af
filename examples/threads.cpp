// Attention on the caller's threads: an Eigen pool that a program already has. The result has the
// same bits as on one thread.

#define EIGEN_USE_THREADS  // before any header of Eigen; without it Eigen has no ThreadPoolDevice
#include <relpos/relpos.hpp>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

using namespace relpos;

int main() {
  using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
  constexpr int heads = 8, key_heads = 2, length = 512, head_dim = 64;
  Tensor q(1, heads, length, head_dim), k(1, key_heads, length, head_dim), v(k.dimensions());
  for (int i = 0; i < q.size(); ++i) q.data()[i] = static_cast<float>(std::sin(0.7 * i));
  for (int i = 0; i < k.size(); ++i) {
    k.data()[i] = static_cast<float>(std::sin(0.3 * i));
    v.data()[i] = static_cast<float>(std::cos(1.1 * i));
  }
  const std::vector<float> slopes = alibi_slopes(heads);

  //! [device]
  Eigen::ThreadPool pool(2);
  const Eigen::ThreadPoolDevice device(&pool, 2);
  Tensor out(q.dimensions());
  attention(device, out, q, k, v, alibi{slopes}, causal{});
  //! [device]

  const Tensor alone = attention(q, k, v, alibi{slopes}, causal{});
  const bool same = std::memcmp(out.data(), alone.data(),
                                sizeof(float) * static_cast<std::size_t>(out.size())) == 0;
  std::printf("two threads against one: %s\n", same ? "the same bits" : "different");
  return same ? 0 : 1;
}
