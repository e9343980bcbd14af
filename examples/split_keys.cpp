// Attention over keys that lie in two places, such as two caches or two machines: a partial result
// for each, merged exactly as if the keys had been together.

#include <relpos/relpos.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

using namespace relpos;

int main() {
  using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
  using Rows = Eigen::Tensor<float, 3, Eigen::RowMajor>;    // [batch, head, position]
  constexpr int heads = 8, queries = 64, near = 200, far = 600, head_dim = 64;
  const auto waves = [](int length, double frequency) {
    Tensor result(1, heads, length, head_dim);
    for (int i = 0; i < result.size(); ++i) {
      result.data()[i] = static_cast<float>(std::sin(frequency * i));
    }
    return result;
  };
  const Tensor q = waves(queries, 0.53);
  const Tensor far_k = waves(far, 0.71), far_v = waves(far, 1.3);
  const Tensor near_k = waves(near, 0.37), near_v = waves(near, 1.9);
  const std::vector<float> slopes = alibi_slopes(heads);
  const alibi bias{slopes};

  //! [partial]
  // The queries are the last 64 of 800 positions; each slice says where its own keys begin.
  const index_t query_offset = far + near - queries;
  Tensor out(1, heads, queries, head_dim), far_out(1, heads, queries, head_dim);
  Rows lse(1, heads, queries), far_lse(1, heads, queries);
  const partial_state merged{out, lse}, added{far_out, far_lse};
  const Eigen::DefaultDevice device;
  partial(device, merged, q, near_k, near_v, bias, causal{},
          options{.query_offset = query_offset, .key_offset = far});
  partial(device, added, q, far_k, far_v, bias, causal{},
          options{.query_offset = query_offset, .key_offset = 0});
  merge(device, merged, added);
  //! [partial]

  const Tensor k = far_k.concatenate(near_k, 2), v = far_v.concatenate(near_v, 2);
  const Tensor whole = attention(q, k, v, bias, causal{});
  float difference = 0.0f;
  for (int i = 0; i < out.size(); ++i) {
    difference = std::max(difference, std::abs(out.data()[i] - whole.data()[i]));
  }
  std::printf("600 + 200 keys merged, against 800 at once: %s\n",
              difference < 1e-5f ? "equal to 1e-5" : "different");
  return difference < 1e-5f ? 0 : 1;
}
