#pragma once

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Asks for a row that will be read soon; null is no row.
template <class Stored>
RELPOS_INLINE void fetch_row(const Stored* row, index channels) {
  constexpr index line = 64 / static_cast<index>(sizeof(Stored));
  constexpr int to_read = 0;
  constexpr int into_second_cache = 2;
  if (row == nullptr) return;
  for (index c = 0; c < channels; c += line) {
    __builtin_prefetch(row + c, to_read, into_second_cache);
  }
}

}  // namespace relpos::inline RELPOS_ABI
