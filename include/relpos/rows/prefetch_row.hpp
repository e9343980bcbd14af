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

/// Prefetches a row of `bytes` bytes that will be read soon. Null is no row.
RELPOS_INLINE void prefetch_row(const void* row, index_t bytes) {
  constexpr index_t line = 64;
  if (row == nullptr) return;
  for (index_t i = 0; i < bytes; i += line) fetch_line(static_cast<const char*>(row) + i);
}

}  // namespace relpos::inline RELPOS_ABI
