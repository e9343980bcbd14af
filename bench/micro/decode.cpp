// The two products of decode for one query, by storage type: keys and values of a tile in the first
// or second cache. Items are keys.

#include <array>

#include "measure.hpp"
#include "relpos/cpu/decode/micro_kernel.hpp"
#include "relpos/kv_cache/quantised_group.hpp"

namespace relpos::bench {
namespace {

constexpr index_t tile_keys = decode_geometry::tile_keys;

template <class Stored>
std::vector<Stored> stored_numbers(index_t rows, index_t channels) {
  const std::vector<float> numbers = normal_numbers(rows * channels);
  std::vector<Stored> result;
  for (index_t i = 0; i < rows * channels; i += channels_of_element<Stored>) {
    const float* const source = &numbers[static_cast<std::size_t>(i)];
    if constexpr (grouped_storage<Stored>) {
      result.push_back(quantised_group<Stored>(source));
    } else {
      result.push_back(Stored(*source));
    }
  }
  return result;
}

template <class Stored, int Vectors>
void products_of_decode(benchmark::State& state) {
  constexpr index_t channels = Vectors * lanes<native>;
  constexpr index_t row = channels / channels_of_element<Stored>;
  const std::vector<Stored> keys = stored_numbers<Stored>(tile_keys, channels);
  const std::vector<Stored> values = stored_numbers<Stored>(tile_keys, channels);
  // The tile, and once more as the tile behind it.
  std::array<const Stored*, 2 * tile_keys> key_rows, value_rows;
  for (std::size_t i = 0; i < key_rows.size(); ++i) {
    const auto place = static_cast<index_t>(i) % tile_keys * row;
    key_rows[i] = keys.data() + place;
    value_rows[i] = values.data() + place;
  }
  const std::vector<float> query = normal_numbers(channels);
  const std::vector<float> weights(tile_keys, 1.0f / tile_keys);
  std::vector<float> output(channels), scores(tile_keys);
  const row_stream<Stored> of_keys{key_rows.data(), key_rows.data() + tile_keys, true};
  const row_stream<Stored> of_values{value_rows.data(), value_rows.data() + tile_keys, true};
  for (auto _ : state) {
    add_and_score<native, Vectors, true>(of_values, weights.data(), 0.5f, output.data(), of_keys,
                                         query.data(), scores.data());
    benchmark::DoNotOptimize(output.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * tile_keys);
  state.counters["time_per_key"] =
      benchmark::Counter(static_cast<double>(state.iterations() * tile_keys),
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

constexpr int of_64 = 64 / lanes<native>;
constexpr int of_128 = 128 / lanes<native>;

BENCHMARK_TEMPLATE(products_of_decode, float, of_64);
BENCHMARK_TEMPLATE(products_of_decode, bfloat16, of_64);
BENCHMARK_TEMPLATE(products_of_decode, half, of_64);
BENCHMARK_TEMPLATE(products_of_decode, int8, of_64);
BENCHMARK_TEMPLATE(products_of_decode, float8_e4m3, of_64);
BENCHMARK_TEMPLATE(products_of_decode, float8_e5m2, of_64);
BENCHMARK_TEMPLATE(products_of_decode, int4_group<32>, of_64);
BENCHMARK_TEMPLATE(products_of_decode, int4_group<64>, of_64);
BENCHMARK_TEMPLATE(products_of_decode, float, of_128);
BENCHMARK_TEMPLATE(products_of_decode, bfloat16, of_128);
BENCHMARK_TEMPLATE(products_of_decode, int8, of_128);
BENCHMARK_TEMPLATE(products_of_decode, float8_e4m3, of_128);
BENCHMARK_TEMPLATE(products_of_decode, int4_group<64>, of_128);

}  // namespace
}  // namespace relpos::bench
