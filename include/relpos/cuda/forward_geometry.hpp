#pragma once
// How the fused forward pass is divided: a block has some query rows of a head, a warp sixteen of them.

#include "relpos/cuda/machine.hpp"

namespace relpos::inline RELPOS_ABI {

template <int HeadDim>
struct forward_geometry {
  static_assert(HeadDim % 32 == 0 && HeadDim <= 256);
  static constexpr int warps = 4;
  static constexpr int threads = warps * warp_lanes;
  static constexpr int warp_rows = 16;  // of an mma
  static constexpr int rows = warps * warp_rows;
  /// Outputs and scores of a warp are in its registers: at 256 channels, half as many keys leave room.
  static constexpr int keys = HeadDim <= 128 ? 64 : 32;
  /// Where there are registers for the queries too, they are read once.
  static constexpr bool holds_queries = HeadDim <= 128;
};

}  // namespace relpos::inline RELPOS_ABI
