#pragma once
// The sizes of tiles. A work item is one query block of one head: `groups` query groups that share each
// key tile while it is in cache; a group is what one register tile spans, queries in the SIMD lanes.

#include "relpos/core/index.hpp"
#include "relpos/simd/isa.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
struct geometry {
  static constexpr index_t vectors = Isa::tile_vectors;
  static constexpr index_t lanes = Isa::vector_bytes / 4;
  static constexpr index_t group_rows = vectors * lanes;
  static constexpr index_t groups = 4;
  static constexpr index_t block_rows = groups * group_rows;

  // Keys per tile: the weights of a group (128 x 48 floats) and its queries share the L1 cache. Tiles
  // begin at multiples of this in absolute position, so that how a sequence is cut into calls does not
  // change the order of summation.
  static constexpr index_t tile_keys = 128;
};

}  // namespace relpos::inline RELPOS_ABI
