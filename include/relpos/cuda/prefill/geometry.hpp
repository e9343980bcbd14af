#pragma once
// The division of prefill: a block has 32, 64 or 128 query rows of a head, and a warp has 16 or 32
// of them.

#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

template <multiplied T, int HeadDim>
struct prefill_block_geometry {
  static_assert(HeadDim % 32 == 0 && HeadDim <= 256);
  static constexpr int row_bytes = HeadDim * static_cast<int>(sizeof(T));
  static constexpr int warps = row_bytes <= 512 ? 4 : 2;
  static constexpr int threads = warps * warp_lanes;
  /// Tiles of a warp's rows, each of sixteen, the rows of an mma. A warp reads each key and value
  /// from shared memory once for all of its rows, and a block reads them from the L2 cache once for
  /// all of its rows: with sixteen rows a warp, these reads would take longer than the products.
  /// Outputs and scores are in registers, which have no room for two tiles of longer rows.
  static constexpr int row_tiles = sizeof(T) == 2 && HeadDim <= 128 ? 2 : 1;
  static constexpr int warp_rows = row_tiles * 16;
  static constexpr int rows = warps * warp_rows;
  /// Keys of a tile. The same registers limit them.
  static constexpr int keys = row_bytes * row_tiles <= 256 ? 64 : row_bytes <= 512 ? 32 : 16;
};

}  // namespace relpos::inline RELPOS_ABI
