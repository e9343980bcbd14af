// The same library without Eigen, exceptions or allocation: views with strides, workspace that the
// caller owns, and a status. The input is a packed projection [batch, position, q k v, head,
// channel], as one matrix product leaves it.

#include <relpos/views.hpp>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <vector>

using namespace relpos;

int main() {
  constexpr index_t batch = 2, length = 300, heads = 4, head_dim = 32;
  std::vector<float> qkv(batch * length * 3 * heads * head_dim);
  for (std::size_t i = 0; i < qkv.size(); ++i) {
    qkv[i] = static_cast<float>(std::sin(0.37 * static_cast<double>(i)));
  }
  std::vector<float> result(batch * length * heads * head_dim);
  const std::vector<float> slopes = alibi_slopes(heads);

  //! [views]
  // Each view is [batch, head, position, channel]; the strides say where that lies in memory.
  constexpr index_t width = heads * head_dim;
  const auto part = [&](index_t which) {
    return view<const float, 4>(qkv.data() + which * width, {batch, heads, length, head_dim},
                                {length * 3 * width, head_dim, 3 * width, 1});
  };
  const auto q = part(0), k = part(1), v = part(2);
  const view<float, 4> out(result.data(), {batch, heads, length, head_dim},
                           {length * width, head_dim, width, 1});
  //! [views]
  //! [prepare]
  const alibi bias{slopes};
  const serial runner;
  // The call is checked and its workspace measured once; it may run any number of times.
  const auto call = prepare(runner, out, q, k, v, bias, causal{});
  std::vector<std::byte> memory(call.workspace_bytes());
  const status done = call.run(runner, memory);
  if (!done) {
    std::fprintf(stderr, "%s\n", done.message);
    return 1;
  }
  //! [prepare]
  std::printf("out[1, 3, 299, 0] = %.4f\n", static_cast<double>(out(1, 3, 299, 0)));

  //! [refused]
  // A call with a wrong shape is refused with a message, before anything is written.
  const view<float, 4> too_short(result.data(), {batch, heads, 100, head_dim});
  const status refused = attention(runner, memory, too_short, q, k, v, bias, causal{});
  std::printf("%s\n", refused.message);
  //! [refused]

  // A causal query at position 0 sees only its own key.
  const bool copies_value = std::abs(out(0, 0, 0, 5) - v(0, 0, 0, 5)) < 1e-6f;
  return copies_value && !refused ? 0 : 1;
}
