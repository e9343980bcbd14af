#pragma once

#include "relpos/views.hpp"

namespace relpos::bench {

/// Scores one group of queries against one tile of keys. It is not inlined into its callers,
/// because there g++ 12 keeps the accumulators in memory.
inline RELPOS_NOINLINE void score_tile(const float* const* keys, const float* queries,
                                       index_t channels, float* scores) {
  constexpr int rows = native::tile_rows;
  constexpr int vectors = native::tile_vectors;
  constexpr index_t width = geometry<native>::group_rows;
  for (index_t key = 0; key < geometry<native>::tile_keys; key += rows) {
    auto strip = score_product<native, rows, vectors>(keys + key, queries, width, channels);
    RELPOS_UNROLL
    for (int r = 0; r < rows; ++r) {
      RELPOS_UNROLL
      for (int v = 0; v < vectors; ++v) {
        strip.vectors[r][v].store(scores + (key + r) * width + v * lanes<native>);
      }
    }
  }
}

}  // namespace relpos::bench
