// The two products of decode for one query, by storage type, over one tile of keys and values that
// stays in the first or second cache, or over 64 MiB of tiles. Items are keys.

#include <algorithm>
#include <array>

#include "measure.hpp"
#include "relpos/cpu/decode/add_and_score.hpp"
#include "relpos/kv_cache/quantised_group.hpp"

namespace relpos::bench {
namespace {

constexpr index_t tile_keys = decode_geometry::tile_keys;

/// The same numbers in each tile.
template <class Stored>
std::vector<Stored> stored_numbers(index_t tiles, index_t channels) {
  const std::vector<float> numbers = normal_numbers(tile_keys * channels);
  std::vector<Stored> result;
  for (index_t i = 0; i < tile_keys * channels; i += channels_of_element<Stored>) {
    const float* const source = &numbers[static_cast<std::size_t>(i)];
    if constexpr (grouped_storage<Stored>) {
      result.push_back(quantised_group<Stored>(source));
    } else {
      result.push_back(Stored(*source));
    }
  }
  const std::vector<Stored> tile = result;
  for (index_t i = 1; i < tiles; ++i) result.insert(result.end(), tile.begin(), tile.end());
  return result;
}

/// Adds the values of a tile and scores the keys of the next, by the loop that decode takes with
/// AVX-512 or AVX2.
template <class Stored, int Channels>
void add_and_score_tile(const row_stream<Stored>& values, const float* weights, float* output,
                        const row_stream<Stored>& keys, const float* query, float* scores) {
  constexpr float rescale = 0.5f;
  if constexpr (has_many_registers<native>) {
    add_and_score<native, Channels / lanes<native>, true>(values, weights, rescale, output, keys,
                                                          query, scores);
  } else if constexpr (takes_turns<native, Stored, Stored>) {
    add_and_score_in_turns<native>(values.rows, weights, rescale, Channels, output, keys.rows,
                                   query, Channels, scores);
  } else {
    const auto ahead = [](const Stored* const* rows) {
      constexpr index_t distance = decode_geometry::prefetch_bytes / 64;
      return rows_ahead{reinterpret_cast<const void* const*>(rows), distance,
                        distance + ceil_div(bytes_of_row<Stored>(Channels), 64)};
    };
    add_all_values<native, false>(values.rows, 0, tile_keys, weights, &rescale, 1, Channels,
                                  ahead(values.rows), output);
    score_all_rows<native>(keys.rows, 0, tile_keys, query, Channels, 1, ahead(keys.rows), scores);
  }
}

template <class Stored, int Channels>
void products_of_decode(benchmark::State& state) {
  constexpr index_t row = Channels / channels_of_element<Stored>;
  constexpr index_t tile_bytes = 2 * tile_keys * bytes_of_row<Stored>(Channels);
  const index_t tiles = std::max<index_t>(1, (state.range(0) << 20) / tile_bytes);
  const std::vector<Stored> keys = stored_numbers<Stored>(tiles, Channels);
  const std::vector<Stored> values = stored_numbers<Stored>(tiles, Channels);
  // The tile, and the tile behind it.
  std::array<const Stored*, 2 * tile_keys> key_rows, value_rows;
  const auto find = [&](index_t tile) {
    for (std::size_t i = 0; i < key_rows.size(); ++i) {
      const index_t place =
          (tile * tile_keys + static_cast<index_t>(i)) % (tiles * tile_keys) * row;
      key_rows[i] = keys.data() + place;
      value_rows[i] = values.data() + place;
    }
  };
  const std::vector<float> query = normal_numbers(Channels);
  const std::vector<float> weights(tile_keys, 1.0f / tile_keys);
  std::vector<float> output(Channels), scores(tile_keys);
  const row_stream<Stored> of_keys{key_rows.data(), key_rows.data() + tile_keys, true};
  const row_stream<Stored> of_values{value_rows.data(), value_rows.data() + tile_keys, true};
  find(0);
  for (auto _ : state) {
    for (index_t tile = 0; tile < tiles; ++tile) {
      if (tiles > 1) find(tile);
      add_and_score_tile<Stored, Channels>(of_values, weights.data(), output.data(), of_keys,
                                           query.data(), scores.data());
      benchmark::DoNotOptimize(output.data());
      benchmark::ClobberMemory();
    }
  }
  const auto count = static_cast<std::int64_t>(state.iterations()) * tiles * tile_keys;
  state.SetItemsProcessed(count);
  state.counters["time_per_key"] = benchmark::Counter(
      static_cast<double>(count), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

BENCHMARK_TEMPLATE(products_of_decode, float, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, bfloat16, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, half, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, int8, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, float8_e4m3, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, float8_e5m2, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, int4_group<32>, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, int4_group<64>, 64)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, float, 128)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, bfloat16, 128)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, half, 128)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, int8, 128)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, float8_e4m3, 128)->ArgName("MiB")->Arg(0)->Arg(64);
BENCHMARK_TEMPLATE(products_of_decode, int4_group<64>, 128)->ArgName("MiB")->Arg(0)->Arg(64);

}  // namespace
}  // namespace relpos::bench
