#pragma once

#include <cstdint>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Prefetches the cache line that holds `address`, which will be read soon, into the second-level
/// cache.
RELPOS_INLINE void fetch_line(const void* address) {
  constexpr int read_access = 0;
  constexpr int second_cache = 2;
  __builtin_prefetch(address, read_access, second_cache);
}

/// The same for the `line`-th cache line after `address`, which may lie beyond the memory of
/// `address`, where arithmetic on pointers ends.
RELPOS_INLINE void fetch_line_after(const void* address, index_t line) {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  fetch_line(reinterpret_cast<const void*>(number + 64 * static_cast<std::uintptr_t>(line)));
}

/// Prefetches a row of `bytes` bytes that will be read soon. Null is no row.
RELPOS_INLINE void prefetch_row(const void* row, index_t bytes) {
  constexpr index_t line = 64;
  if (row == nullptr) return;
  for (index_t i = 0; i < bytes; i += line) fetch_line(static_cast<const char*>(row) + i);
}

}  // namespace relpos::inline RELPOS_ABI
