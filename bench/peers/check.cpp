// Compares every peer with the float64 reference, with and without a bias.

#include <cstdio>
#include <random>
#include <vector>

#include "../candidate.hpp"
#include "peer.hpp"

namespace {

using relpos::index_t;
using relpos::bench::largest_error;

/// Whether every installed peer is right.
bool check(index_t length, index_t head_dim, bool with_bias) {
  constexpr index_t heads = 2;
  relpos::bench::tensors t(heads, length, head_dim);
  std::vector<float> bias(static_cast<std::size_t>(heads * length * length));
  std::mt19937 generator(3);
  std::normal_distribution<float> normal;
  for (float& x : bias) x = normal(generator);
  const relpos::view<const float, 4> matrix(bias.data(), {1, heads, length, length});

  bool all_right = true;
  for (const relpos::bench::peer& each : relpos::bench::peers()) {
    if (!each.missing.empty()) continue;
    t.forget_outputs();
    const auto run = each.prepare({t.q, t.k, t.v, t.out, with_bias ? bias.data() : nullptr});
    run();
    run();  // nothing is left over from the first
    const relpos::causal mask;
    const double error =
        with_bias ? largest_error(t.out, t.q, t.k, t.v, {}, mask, relpos::additive_bias{matrix})
                  : largest_error(t.out, t.q, t.k, t.v, {}, mask);
    const bool right = error < 1e-5;
    all_right = all_right && right;
    std::printf("%-18s length %4lld, head_dim %3lld%s: error %.1e%s\n", each.name.c_str(),
                static_cast<long long>(length), static_cast<long long>(head_dim),
                with_bias ? ", bias" : "", error, right ? "" : "  TOO LARGE");
  }
  return all_right;
}

}  // namespace

int main() {
  for (const relpos::bench::peer& each : relpos::bench::peers()) {
    const bool absent = !each.missing.empty();
    std::printf("%-18s %s%s\n", each.name.c_str(), each.component.c_str(),
                absent ? (", absent: " + each.missing).c_str() : "");
  }
  bool all_right = true;
  for (const index_t length : {1, 128, 300}) {
    for (const index_t head_dim : {64, 128}) {
      for (const bool with_bias : {false, true}) {
        all_right = check(length, head_dim, with_bias) && all_right;
      }
    }
  }
  return all_right ? 0 : 1;
}
