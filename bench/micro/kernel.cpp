// The parts of the kernel, and causal calls of several shapes. Items are multiply-adds if a rate of
// floating-point operations is reported with them, else floats of the rows.

#include "measure.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/micro_kernel.hpp"
#include "relpos/views.hpp"
#include "score_tile.hpp"

namespace relpos::bench {
namespace {

using isa = native;
using real = float_pack<isa>;
using tiles = geometry<isa>;

constexpr int vectors = isa::tile_vectors;

/// Pointers to the rows of a tile of keys or values.
std::vector<const float*> row_pointers(const std::vector<float>& rows, index_t channels) {
  std::vector<const float*> result(tiles::tile_keys);
  for (index_t row = 0; row < tiles::tile_keys; ++row) result[row] = &rows[row * channels];
  return result;
}

void score_product_of_tile(benchmark::State& state) {
  const index_t channels = state.range(0);
  const std::vector<float> keys = normal_numbers(tiles::tile_keys * channels);
  const std::vector<float> queries = normal_numbers(channels * tiles::group_rows);
  std::vector<float> scores(static_cast<std::size_t>(tiles::tile_keys * tiles::group_rows));
  const std::vector<const float*> of_key = row_pointers(keys, channels);
  for (auto _ : state) {
    score_tile(of_key.data(), queries.data(), channels, scores.data());
    benchmark::ClobberMemory();
  }
  count_multiply_adds(state, tiles::tile_keys * tiles::group_rows * channels);
}
BENCHMARK(score_product_of_tile)->ArgName("head_dim")->Arg(64)->Arg(128);

/// `Guarded` is the product that leaves out weights of zero.
template <bool Guarded>
void value_product_of_tile(benchmark::State& state) {
  const index_t channels = state.range(0);
  const std::vector<float> values = normal_numbers(tiles::tile_keys * channels);
  const std::vector<float> weights(static_cast<std::size_t>(tiles::tile_keys * tiles::group_rows),
                                   1.0f / tiles::tile_keys);
  std::vector<float> outputs(static_cast<std::size_t>(channels * tiles::group_rows));
  const std::vector<const float*> of_value = row_pointers(values, channels);
  needed_keys<vectors> all;
  real rescale[vectors];
  for (int v = 0; v < vectors; ++v) {
    all.count[v] = tiles::tile_keys;
    rescale[v] = real(0.5f);
  }
  for (auto _ : state) {
    accumulate_values<isa, vectors, Guarded>(of_value.data(), weights.data(), all, channels,
                                             rescale, false, outputs.data());
    benchmark::DoNotOptimize(outputs.data());
    benchmark::ClobberMemory();
  }
  count_multiply_adds(state, tiles::tile_keys * tiles::group_rows * channels);
}
BENCHMARK_TEMPLATE(value_product_of_tile, false)->ArgName("head_dim")->Arg(64)->Arg(128);
BENCHMARK_TEMPLATE(value_product_of_tile, true)->ArgName("head_dim")->Arg(64);

/// 8 heads; the queries are the last rows of the keys.
void causal_call(benchmark::State& state) {
  constexpr index_t heads = 8;
  const index_t queries = state.range(0);
  const index_t keys = state.range(1);
  const index_t head_dim = state.range(2);
  const std::vector<float> q_data = normal_numbers(heads * queries * head_dim);
  const std::vector<float> k_data = normal_numbers(heads * keys * head_dim);
  const std::vector<float> v_data = normal_numbers(heads * keys * head_dim);
  std::vector<float> out_data(q_data.size());
  const view<const float, 4> q(q_data.data(), {1, heads, queries, head_dim});
  const view<const float, 4> k(k_data.data(), {1, heads, keys, head_dim});
  const view<const float, 4> v(v_data.data(), {1, heads, keys, head_dim});
  const view<float, 4> out(out_data.data(), {1, heads, queries, head_dim});
  std::vector<std::byte> memory(workspace_bytes(serial(), q, k, v, causal()));
  for (auto _ : state) {
    const status done = attention(serial(), memory, out, q, k, v, causal());
    if (!done) {
      state.SkipWithError(done.message);
      break;
    }
    benchmark::ClobberMemory();
  }
  const index_t scores = queries * keys - queries * (queries - 1) / 2;
  count_multiply_adds(state, 2 * heads * head_dim * scores);
}
BENCHMARK(causal_call)
    ->ArgNames({"queries", "keys", "head_dim"})
    ->Args({512, 512, 64})
    ->Args({512, 512, 128})
    ->Args({2048, 2048, 64})
    ->Args({2048, 2048, 128})
    ->Args({128, 2048, 64})  // a chunk behind a cache
    ->Args({1, 2048, 64})    // one new token
    ->Unit(benchmark::kMicrosecond);

void merge_of_partial_states(benchmark::State& state) {
  const index_t rows = state.range(0);
  constexpr index_t heads = 8;
  constexpr index_t channels = 64;
  std::vector<float> into_out = normal_numbers(heads * rows * channels);
  std::vector<float> from_out = into_out;
  std::vector<float> into_lse(static_cast<std::size_t>(heads * rows));
  std::vector<float> from_lse = into_lse;
  const std::array<index_t, 4> shape{1, heads, rows, channels};
  partial_state into{{into_out.data(), shape}, {into_lse.data(), {1, heads, rows}}};
  partial_state from{{from_out.data(), shape}, {from_lse.data(), {1, heads, rows}}};
  // Without this g++ 12 warns falsely that statistics are read that are not there.
  benchmark::DoNotOptimize(into);
  benchmark::DoNotOptimize(from);
  for (auto _ : state) {
    const status done = merge(serial(), into, from);
    if (!done) state.SkipWithError(done.message);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * heads * rows * channels);
}
BENCHMARK(merge_of_partial_states)
    ->ArgName("rows")
    ->Arg(1)
    ->Arg(512)
    ->Unit(benchmark::kMicrosecond);

template <class T, pair_layout Layout>
void rotate_in_place(benchmark::State& state) {
  const std::array<index_t, 4> shape{1, 8, state.range(0), 64};
  std::vector<T> data;
  for (const float each : normal_numbers(view<T, 4>(nullptr, shape).size())) {
    data.push_back(static_cast<T>(each));
  }
  const view<T, 4> rows(data.data(), shape);
  const rotary_frequencies frequencies = rope_frequencies(64);
  for (auto _ : state) {
    const status done = rotate(rows, frequencies, Layout);
    if (!done) state.SkipWithError(done.message);
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * rows.size());
}
BENCHMARK_TEMPLATE(rotate_in_place, float, pair_layout::half_split)
    ->ArgName("rows")
    ->Arg(1)
    ->Arg(512)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(rotate_in_place, float, pair_layout::interleaved)
    ->ArgName("rows")
    ->Arg(512)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_TEMPLATE(rotate_in_place, bfloat16, pair_layout::half_split)
    ->ArgName("rows")
    ->Arg(512)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace relpos::bench
