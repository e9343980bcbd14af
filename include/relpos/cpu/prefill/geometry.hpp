#pragma once
// The sizes of prefill's tiles. A work item is one query block of one head: `groups` query groups
// that share each key tile while it is in cache. A group is the queries of one register tile, in
// the SIMD lanes.

#include <algorithm>

#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/simd/isa.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
struct geometry {
  static constexpr index_t vectors = Isa::tile_vectors;
  static constexpr index_t lanes = Isa::vector_bytes / 4;
  static constexpr index_t group_rows = vectors * lanes;
  static constexpr index_t groups = 4;
  static constexpr index_t block_rows = groups * group_rows;

  // Keys per tile: the weights of a group (128 x 48 floats) and its queries share the L1 cache.
  // Tiles begin at multiples of this in absolute position, so that the order of summation does not
  // depend on how a sequence is cut into calls.
  static constexpr index_t tile_keys = 128;
};

/// One query block of one head: the rows from index * block_rows on.
struct query_block {
  index_t sequence;
  index_t head;
  index_t index;
};

/// The query rows of a group that exist, their positions, and the positions of the keys.
struct group_rows {
  index_t first_row = 0;  // of the call
  index_t count = 0;
  index_t q_pos = 0;  // of first_row
  index_t key_offset = 0;
  index_t key_length = 0;
};

/// The tiles of a call's keys, counted in absolute position: a tile begins at a multiple of its
/// size.
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

  /// An upper bound on the number of tiles of `length` keys, for any key offset.
  static constexpr index_t capacity(index_t length) { return length / size + 2; }
};

}  // namespace relpos::inline RELPOS_ABI
