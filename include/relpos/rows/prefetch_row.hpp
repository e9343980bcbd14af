#pragma once

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Prefetches the cache line that holds `at`, which will be read soon, into the second-level cache.
RELPOS_INLINE void fetch_line(const void* at) {
  constexpr int to_read = 0;
  constexpr int into_second_cache = 2;
  __builtin_prefetch(at, to_read, into_second_cache);
}

/// Prefetches a row of `floats` floats that will be read soon. Null is no row.
RELPOS_INLINE void prefetch_row(const float* row, index_t floats) {
  constexpr index_t line = 16;
  if (row == nullptr) return;
  for (index_t c = 0; c < floats; c += line) fetch_line(row + c);
}

}  // namespace relpos::inline RELPOS_ABI
