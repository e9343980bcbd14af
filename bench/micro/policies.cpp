// One call for each encoding, mask and temperature: 8 heads of 64 channels, 1024 queries and keys.

#include <array>
#include <cmath>
#include <string>

#include "measure.hpp"
#include "relpos/views.hpp"

namespace relpos::bench {
namespace {

constexpr index_t heads = 8;
constexpr index_t length = 1024;
constexpr index_t head_dim = 64;
constexpr index_t terms = 16;  // of a mixed bias

/// The inputs and the output of all calls.
struct tensors {
  static constexpr std::array<index_t, 4> shape{1, heads, length, head_dim};

  std::vector<float> data = normal_numbers(3 * heads * length * head_dim);
  std::vector<float> out_data = std::vector<float>(data.size() / 3);
  view<const float, 4> q{data.data(), shape};
  view<const float, 4> k{data.data() + heads * length * head_dim, shape};
  view<const float, 4> v{data.data() + 2 * heads * length * head_dim, shape};
  view<float, 4> out{out_data.data(), shape};
};
const tensors t;

/// The data that policies refer to.
struct parameters {
  std::vector<float> slopes = alibi_slopes(heads);
  std::vector<float> ones = std::vector<float>(heads, 1.0f);
  std::vector<float> buckets = normal_numbers(32 * heads);
  std::vector<float> matrix = normal_numbers(heads * length * length);
  std::vector<float> gates = normal_numbers(heads * length);
  std::vector<float> mixed = normal_numbers(heads * length * terms);
  std::vector<float> tables = normal_numbers(heads * terms * length);
  std::vector<index_t> starts{0, 300, 700, length};
  std::vector<index_t> padding{100};
  std::vector<index_t> lengths{length - 100};
  std::vector<index_t> first_keys = std::vector<index_t>(length, 0);
  std::vector<index_t> last_keys = [] {  // images of 200 tokens
    std::vector<index_t> result(length);
    for (index_t row = 0; row < length; ++row) result[row] = (row / 200 + 1) * 200;
    return result;
  }();
  std::vector<index_t> restarting = [] {
    std::vector<index_t> result(length);
    for (index_t row = 0; row < length; ++row) result[row] = row % 300;
    return result;
  }();
  std::vector<index_t> parents = [] {  // a binary tree
    std::vector<index_t> result{-1};
    for (index_t node = 1; node < 64; ++node) result.push_back((node - 1) / 2);
    return result;
  }();
  rotary_table rope{rope_frequencies(head_dim), pair_layout::half_split};
  rotary_table interleaved{rope_frequencies(head_dim), pair_layout::interleaved};
  rotary_table xpos{xpos_frequencies(head_dim), pair_layout::half_split};
};

template <class... Arguments>
void add(const std::string& name, const Arguments&... arguments) {
  const auto call = [=](benchmark::State& state) {
    std::vector<std::byte> memory(workspace_bytes(serial(), t.q, t.k, t.v, arguments...));
    for (auto _ : state) {
      const status done = attention(serial(), memory, t.out, t.q, t.k, t.v, arguments...);
      if (!done) {
        state.SkipWithError(done.message);
        break;
      }
      benchmark::ClobberMemory();
    }
  };
  benchmark::RegisterBenchmark(("attention/" + name).c_str(), call)->Unit(benchmark::kMicrosecond);
}

bool add_masks(const parameters& of) {
  add("full");
  add("causal", causal());
  add("causal+band", causal(), band{255, 0});
  add("band", band{128, 128});
  add("blockwise_causal", blockwise_causal{256});
  add("chunked_causal", chunked_causal{256});
  add("block_lower", block_lower{64});
  add("prefix", prefix{256});
  add("causal+either(band,sinks)", causal(), either{band{255, 0}, sinks{4}});
  add("causal+documents", causal(), documents{of.starts});
  add("causal+left_padding", causal(), left_padding{of.padding});
  add("right_padding", right_padding{of.lengths});
  const view<const index_t, 2> first(of.first_keys.data(), {1, length});
  const view<const index_t, 2> last(of.last_keys.data(), {1, length});
  add("key_ranges", key_ranges{first, last});
  add("tree", tree{of.parents, length - 64});
  return true;
}

bool add_biases(const parameters& of) {
  add("causal+alibi", causal(), alibi{of.slopes});
  add("alibi_symmetric", alibi_symmetric{of.slopes});
  add("alibi_two_sided", alibi_two_sided{of.slopes, of.ones});
  add("alibi_offset", alibi_offset{of.slopes});
  add("alibi_one_sided", alibi_one_sided{of.slopes});
  add("causal+t5_bias", causal(), t5_bias{of.buckets, unidirectional});
  add("t5_bias", t5_bias{of.buckets, bidirectional});
  const relative_bias logarithmic{[](index_t head, index_t distance) {
    const auto away = static_cast<double>(distance);
    return -static_cast<double>(head + 1) * std::log1p(std::abs(away));
  }};
  add("causal+relative_bias", causal(), logarithmic);
  const view<const float, 3> gates(of.gates.data(), {1, heads, length});
  add("causal+gated_bias", causal(), gated_bias{gates, logarithmic});
  const view<const float, 4> mixed(of.mixed.data(), {1, heads, length, terms});
  const view<const float, 3> tables(of.tables.data(), {heads, terms, length});
  add("causal+mixed_bias", causal(), mixed_bias{mixed, tables, 1 - length});
  const view<const float, 4> matrix(of.matrix.data(), {1, heads, length, length});
  add("causal+additive_bias", causal(), additive_bias{matrix});
  return true;
}

bool add_rotations(const parameters& of) {
  add("causal+rope", causal(), rotary{of.rope});
  add("causal+rope_interleaved", causal(), rotary{of.interleaved});
  add("causal+xpos", causal(), rotary{of.xpos});
  const view<const index_t, 2> restarting(of.restarting.data(), {1, length});
  add("causal+rope+token_positions", causal(), rotary{of.rope},
      token_positions{restarting, restarting});
  return true;
}

bool add_scores(const parameters& of) {
  add("causal+temperature", causal(), temperature{0.8});
  add("causal+head_temperature", causal(), head_temperature{of.ones});
  add("causal+log_n", causal(), log_n{256});
  add("causal+ssmax", causal(), ssmax{of.ones});
  add("causal+position_log", causal(), position_log{.floor_scale = 256});
  add("causal+position_power", causal(), position_power{0.1, 256});
  add("causal+head_position_log", causal(), head_position_log{of.ones, of.ones});
  add("causal+sink_logits", causal(), sink_logits{of.ones});
  add("causal+softcap", causal(), options{.softcap = 50.0f});
  return true;
}

const parameters data;
[[maybe_unused]] const bool added =
    add_masks(data) && add_biases(data) && add_rotations(data) && add_scores(data);

}  // namespace
}  // namespace relpos::bench
