#pragma once

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Prefetches the cache line that holds `address`, which will be read soon, into the second-level
/// cache.
RELPOS_INLINE void fetch_line(const void* address) {
  constexpr int read_access = 0;
  constexpr int second_cache = 2;
  __builtin_prefetch(address, read_access, second_cache);
}

/// Prefetches a row of `floats` floats that will be read soon. Null is no row.
RELPOS_INLINE void prefetch_row(const float* row, index_t floats) {
  constexpr index_t line = 16;
  if (row == nullptr) return;
  for (index_t c = 0; c < floats; c += line) fetch_line(row + c);
}

}  // namespace relpos::inline RELPOS_ABI
