#pragma once

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Asks for a row that will be read soon; null is no row.
RELPOS_INLINE void fetch_row(const float* row, index floats) {
  constexpr index line = 16;
  constexpr int to_read = 0;
  constexpr int into_second_cache = 2;
  if (row == nullptr) return;
  for (index c = 0; c < floats; c += line) __builtin_prefetch(row + c, to_read, into_second_cache);
}

}  // namespace relpos::inline RELPOS_ABI
