// Biases of the literature as functions of head and distance (other_biases.hpp), on one input.

#include "other_biases.hpp"

#include <relpos/relpos.hpp>

#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

using namespace relpos;

namespace {

using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
constexpr int heads = 4, length = 300, channels = 32;

/// Prints the mean position that the last query of head 0 looks at: each value is its position.
template <class... Policies>
void report(const char* name, const Tensor& q, const Tensor& v, const Policies&... policies) {
  const Tensor out = attention(q, q, v, policies...);
  std::printf("%-14s the last query looks at position %5.1f on average\n", name,
              static_cast<double>(out(0, 0, length - 1, 0)));
}

}  // namespace

int main() {
  Tensor q(1, heads, length, channels), v(1, heads, length, 1);
  for (int i = 0; i < q.size(); ++i) q.data()[i] = std::sin(static_cast<float>(i));
  for (int i = 0; i < v.size(); ++i) v.data()[i] = static_cast<float>(i % length);

  const std::array<float, heads> r1{1.0f, 0.5f, 0.25f, 0.125f}, r2{0.5f, 0.5f, 1.0f, 1.0f};
  std::vector<float> in(64), out(32 * heads), table(std::size_t{320} * heads);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = std::cos(static_cast<float>(i));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = -0.2f + 0.1f * std::sin(static_cast<float>(i));
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = -0.01f * static_cast<float>(i / heads % 160);
  const std::vector<float> small(table.begin(), table.begin() + 32 * heads);
  const std::vector<float> gate_of_rows(std::size_t{heads} * length, 1.5f);
  const view<const float, 3> gates(gate_of_rows.data(), {1, heads, length});

  report("KERPLE, log", q, v, examples::kerple_log(r1, r2), causal{});
  report("KERPLE, power", q, v, examples::kerple_power(r1, r2), causal{});
  report("Sandwich", q, v, examples::sandwich(heads), causal{});
  report("FIRE", q, v, examples::fire(in, out, 0.1, 512), causal{});
  report("MPNet", q, v, examples::mpnet(small));
  report("WavLM", q, v, examples::wavlm(gates, table));
  return 0;
}
