// One tile of prefill, 128 keys by 3 vectors of queries, over and over, piece by piece: each piece
// in multiples of the time of one vector multiply-add at the peak, for each vector of scores.
// bench/tile_account.py counts the instructions of the same functions.

#include <cstdio>
#include <functional>
#include <vector>

#include "fma_peak.hpp"
#include "interleaved.hpp"
#include "relpos/views.hpp"
#include "score_tile.hpp"

namespace relpos::bench {

using isa = native;
using real = float_pack<isa>;
using tiles = geometry<isa>;
inline constexpr int vectors = isa::tile_vectors;

struct tile_data {
  explicit tile_data(index_t channel_count)
      : channels(channel_count),
        rows(static_cast<std::size_t>(tiles::tile_keys * channels), 0.25f),
        queries(static_cast<std::size_t>(channels * tiles::group_rows), 0.5f),
        outputs(queries.size(), 0.0f),
        scores(static_cast<std::size_t>(tiles::tile_keys * tiles::group_rows), 0.5f) {
    for (index_t key = 0; key < tiles::tile_keys; ++key) {
      row.push_back(rows.data() + key * channels);
    }
  }

  index_t channels;
  std::vector<float> rows, queries, outputs, scores;
  std::vector<const float*> row;
};

}  // namespace relpos::bench

// bench/tile_account.py looks for the name of tile_weights.
extern "C" {

using relpos::bench::tile_data;

void tile_scores(tile_data& tile) {
  relpos::bench::score_tile(tile.row.data(), tile.queries.data(), tile.channels,
                            tile.scores.data());
}

RELPOS_NOINLINE void tile_weights(tile_data& tile) {
  using namespace relpos;
  using namespace relpos::bench;
  real sum[vectors], maximum[vectors];
  for (int v = 0; v < vectors; ++v) {
    sum[v] = real(0.0f);
    maximum[v] = real(tile.queries[0]);
  }
  for (index_t key = 0; key < tiles::tile_keys; ++key) {
    RELPOS_UNROLL
    for (int v = 0; v < vectors; ++v) {
      float* const score = tile.scores.data() + key * tiles::group_rows + v * lanes<isa>;
      const real weight = exp2<isa>(real::load(score) - maximum[v]);
      weight.store(score);
      sum[v] = sum[v] + weight;
    }
  }
  for (int v = 0; v < vectors; ++v) sum[v].store(tile.outputs.data() + v * lanes<isa>);
}

RELPOS_NOINLINE void tile_outputs(tile_data& tile) {
  using namespace relpos;
  using namespace relpos::bench;
  needed_keys<vectors> all;
  real rescale[vectors];
  for (int v = 0; v < vectors; ++v) {
    all.count[v] = tiles::tile_keys;
    rescale[v] = real(0.5f);
  }
  accumulate_values<isa, vectors, false>(tile.row.data(), tile.scores.data(), all, tile.channels,
                                         rescale, false, tile.outputs.data());
}

}  // extern "C"

int main() {
  using namespace relpos;
  using namespace relpos::bench;
  constexpr int times = 20;
  constexpr int turns = 400;
  using peak = fma_peak<isa>;
  std::printf("%s\n%s\n", RELPOS_BENCH_COMPILER, RELPOS_BENCH_FLAGS);
  for (const index_t channels : {64, 128}) {
    tile_data tile(channels);
    const auto repeated = [&](void (*piece)(tile_data&)) {
      return [&tile, piece] {
        for (int i = 0; i < times; ++i) piece(tile);
      };
    };
    const std::vector<double> seconds =
        interleaved_seconds({[] {
                               volatile float keep = peak::run();
                               (void)keep;
                             },
                             repeated(tile_scores), repeated(tile_weights), repeated(tile_outputs)},
                            turns);
    const double multiply_add = seconds[0] / (peak::flops / (2.0 * lanes<isa>));
    const double of_vector = multiply_add * times * static_cast<double>(tiles::tile_keys * vectors);
    std::printf("%d %d %d %.2f %.2f %.2f\n", static_cast<int>(channels), isa::tile_rows, vectors,
                seconds[1] / of_vector, seconds[2] / of_vector, seconds[3] / of_vector);
  }
}
