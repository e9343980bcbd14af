#pragma once

#include <algorithm>

#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/simd/isa.hpp"

namespace relpos::inline RELPOS_ABI {

/// Key rows of a tile of decode: lane i is row first_row + i. Lanes [first, last) are computed, whole vectors; rows
/// [rows.first, rows.last) exist and are seen by some query.
struct key_lanes {
  index_t first_row = 0;
  index_t first = 0;
  index_t last = 0;
  key_range rows;

  /// `range` of the tile that begins at `tile`.
  template <class Isa>
  static key_lanes of(index_t tile, const key_range& range) {
    if (range.last <= range.first) return {tile, 0, 0, {tile, tile}};
    return {tile, (range.first - tile) / lanes<Isa> * lanes<Isa>,
            ceil_div(range.last - tile, lanes<Isa>) * lanes<Isa>, range};
  }

  constexpr index_t nearest_row(index_t lane) const {
    return std::clamp(first_row + lane, rows.first, rows.last - 1);
  }
};

}  // namespace relpos::inline RELPOS_ABI
