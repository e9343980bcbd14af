#pragma once
// The calls whose instructions are counted and compared with figures that were recorded
// (golden/instructions.json): of one group of queries, over a few keys or over twice as many.

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/policies.hpp"
#include "support/random_tensors.hpp"

namespace counted {

using relpos::index_t;

// One group and a part of a tile: a step takes microseconds, and tens of them in a virtual machine.
inline constexpr index_t queries = relpos::geometry<relpos::native>::group_rows;
inline constexpr index_t few_keys = 32;
inline constexpr index_t many_keys = 64;
static_assert(many_keys == 2 * few_keys);
inline constexpr index_t few_channels = 8;

/// The compiler, its flags and the instruction set: what figures are recorded for.
inline std::string recorded_set() {
#if defined(__clang__)
  const std::string compiler = "clang++ " + std::to_string(__clang_major__);
#else
  const std::string compiler = "g++ " + std::to_string(__GNUC__);
#endif
  return compiler + " " RELPOS_TEST_FLAGS ", " + relpos::native::name;
}

struct call_size {
  index_t rows;
  index_t keys;
  index_t head_dim;
};

/// Calls use(call), where call() computes attention.
template <class Use, class... Policies>
auto with_call(const call_size& size, relpos::options opts, const Use& use,
               const Policies&... policies) {
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 1,
                                          .key_heads = 1,
                                          .query_length = size.rows,
                                          .key_length = size.keys,
                                          .head_dim = size.head_dim,
                                          .value_dim = size.head_dim},
                                         3);
  support::tensor<float> out({1, 1, size.rows, size.head_dim});
  if (!opts.query_offset) opts.query_offset = many_keys;
  opts.kernel = relpos::kernel_class::prefill;  // where a group of queries is small, too
  std::vector<std::byte> memory(relpos::workspace_bytes(relpos::serial(), in.q.view(), in.k.view(),
                                                        in.v.view(), policies...));
  return use([&] {
    return relpos::attention(relpos::serial(), memory, out.view(), in.q.view(), in.k.view(),
                             in.v.view(), policies..., opts);
  });
}

/// Calls use(head_dim, options, policies...) for a name in golden/instructions.json. All keys are
/// visible, except for "diagonal", where half of the last `few_keys` are.
template <class Use>
void with_named(std::string_view name, const Use& use) {
  using namespace relpos;
  const std::vector<float> slopes{0.5f};
  const std::vector<float> table(32, 0.5f);
  if (name == "none") return use(few_channels, options{});
  if (name == "causal") return use(few_channels, options{}, causal{});
  if (name == "causal, head_dim 64") return use(64, options{}, causal{});
  if (name == "diagonal") return use(few_channels, options{.query_offset = few_keys}, causal{});
  if (name == "statistics") {
    support::tensor<float, 3> entropy({1, 1, queries});
    support::tensor<float, 3> variance({1, 1, queries});
    return use(few_channels, options{.statistics = {.entropy = entropy.view(),
                                                    .logit_variance = variance.view()}});
  }
  if (name == "alibi") return use(few_channels, options{}, alibi{slopes});
  if (name == "t5") return use(few_channels, options{}, t5_bias{table, bidirectional});
  if (name == "relative_bias") {
    const auto bias = [](index_t, index_t distance) {
      return 0.01 * static_cast<double>(distance % 7);
    };
    return use(few_channels, options{}, relpos::relative_bias{bias});
  }
  if (name == "rotary") {
    const rotary_table rotation(rope_frequencies(few_channels), pair_layout::half_split);
    return use(few_channels, options{}, relpos::rotary{rotation});
  }
  if (name == "alibi, t5, causal") {
    return use(few_channels, options{}, alibi{slopes}, t5_bias{table, unidirectional}, causal{});
  }
  if (name == "softcap") return use(few_channels, options{.softcap = 30.0f});
  throw std::invalid_argument("no such call");
}

}  // namespace counted
