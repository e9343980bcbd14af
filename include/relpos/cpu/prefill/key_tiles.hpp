#pragma once

#include <algorithm>

#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/cpu/prefill/geometry.hpp"

namespace relpos::inline RELPOS_ABI {

/// The tiles of a call's keys, counted in absolute position: a tile begins at a multiple of its size.
template <class Isa>
struct key_tiles {
  static constexpr index_t size = geometry<Isa>::tile_keys;

  index_t key_offset = 0;
  index_t key_length = 0;

  /// The tile of a row of the call.
  constexpr index_t of(index_t row) const { return floor_div(row + key_offset, size); }
  /// The rows of a tile that exist.
  constexpr key_range rows(index_t tile) const {
    const index_t begin = tile * size - key_offset;
    return {std::max<index_t>(begin, 0), std::min(begin + size, key_length)};
  }

  /// More than any call with so many keys has.
  static constexpr index_t capacity(index_t length) { return length / size + 2; }
};

}  // namespace relpos::inline RELPOS_ABI
