#pragma once
// How prefill is divided: a block has some query rows of a head, a warp sixteen or thirty-two of
// them.

#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

template <multiplied T, int HeadDim>
struct prefill_block_geometry {
  static_assert(HeadDim % 32 == 0 && HeadDim <= 256);
  static constexpr int row_bytes = HeadDim * static_cast<int>(sizeof(T));
  static constexpr int warps = row_bytes <= 512 ? 4 : 2;
  static constexpr int threads = warps * warp_lanes;
  /// Of sixteen rows, as many as an mma has. Each key and value that a warp reads of shared memory,
  /// and a block of the second cache, is for all of its rows: with sixteen, that would take longer
  /// than the products. Outputs and scores are in registers: for more of longer rows there is no
  /// room.
  static constexpr int row_tiles = sizeof(T) == 2 && HeadDim <= 128 ? 2 : 1;
  static constexpr int warp_rows = row_tiles * 16;
  static constexpr int rows = warps * warp_rows;
  /// Of a tile, for the same registers.
  static constexpr int keys = row_bytes * row_tiles <= 256 ? 64 : row_bytes <= 512 ? 32 : 16;
};

}  // namespace relpos::inline RELPOS_ABI
