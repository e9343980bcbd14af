#pragma once
// The division of decode. Keys are split into chunks, counted in absolute position. A block has one
// chunk and up to sixteen query rows that share a key head. Its warps take the tiles of the chunk
// in turn.

#include "relpos/call/options.hpp"
#include "relpos/contract/rotation.hpp"
#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

/// Sizes that are the same for all types and head dimensions.
struct decode_chunks {
  static constexpr int rows = static_cast<int>(decode_row_limit);  // of an mma
  /// Keys of a chunk: enough that a block reads for longer than it takes to begin, and few enough
  /// that one sequence occupies a GPU.
  static constexpr int keys = 256;
  // The keys of a chunk lie in one block of positions, to which the queries are rotated.
  static_assert(rotation_block % keys == 0);

  /// The number of blocks that the rows of one key head are divided into.
  static constexpr index_t row_blocks(index_t query_length, index_t group) {
    return ceil_div(query_length * group, rows);
  }
};

template <multiplied T, int HeadDim>
struct decode_block_geometry {
  static constexpr int row_bytes = HeadDim * static_cast<int>(sizeof(T));
  static constexpr int warps = row_bytes <= 256 ? 4 : row_bytes <= 512 ? 2 : 1;
  static constexpr int threads = warps * warp_lanes;
  static constexpr int rows = decode_chunks::rows;
  static constexpr int keys = 16;  // of a tile
  static constexpr int tiles = decode_chunks::keys / keys;
  static constexpr bool holds_queries = row_bytes <= 256;
};

}  // namespace relpos::inline RELPOS_ABI
