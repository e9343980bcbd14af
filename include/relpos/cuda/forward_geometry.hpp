#pragma once
// How the fused forward pass is divided: a block has some query rows of a head, a warp sixteen of them.

#include "relpos/cuda/machine.hpp"

namespace relpos::inline RELPOS_ABI {

template <multiplied T, int HeadDim>
struct forward_geometry {
  static_assert(HeadDim % 32 == 0 && HeadDim <= 256);
  static constexpr int row_bytes = HeadDim * static_cast<int>(sizeof(T));
  static constexpr int warps = row_bytes <= 512 ? 4 : 2;
  static constexpr int threads = warps * warp_lanes;
  static constexpr int warp_rows = 16;  // of an mma
  static constexpr int rows = warps * warp_rows;
  /// Outputs and scores of a warp are in its registers, and three tiles in shared memory: of longer rows, fewer keys
  /// leave room.
  static constexpr int keys = row_bytes <= 256 ? 64 : row_bytes <= 512 ? 32 : 16;
  /// Where there are registers for the queries too, they are read once.
  static constexpr bool holds_queries = row_bytes <= 256;
};

}  // namespace relpos::inline RELPOS_ABI
