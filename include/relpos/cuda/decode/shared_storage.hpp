#pragma once

#include "relpos/cuda/decode/geometry.hpp"
#include "relpos/cuda/fragment/score_stages.hpp"
#include "relpos/cuda/fragment/shared_rows.hpp"

namespace relpos::inline RELPOS_ABI {

/// The shared memory of a block of one chunk.
template <class T, int HeadDim>
struct decode_shared_storage {
  using geometry = decode_block_geometry<T, HeadDim>;
  using query_rows = shared_rows<T, geometry::rows, HeadDim>;
  using key_rows = shared_rows<T, geometry::keys, HeadDim>;
  using weight_rows = shared_rows<T, geometry::rows, geometry::keys>;

  /// The state of a warp's tiles. Rows of outputs are padded by 32 bytes: rows to which lanes store
  /// two channels at once lie in different banks.
  struct warp_state {
    float maximum[geometry::rows];
    float sum[geometry::rows];
    float outputs[geometry::rows][HeadDim + 8];
  };
  struct tile {
    alignas(16) T keys[key_rows::size];  // then weights, if a value is not finite
    alignas(16) T values[key_rows::size];
  };
  static_assert(weight_rows::size <= key_rows::size);

  key_span visible[geometry::warps][geometry::rows];
  alignas(16) T queries[query_rows::size];
  union {
    tile tiles[geometry::warps][2];      // the one in use, and the one that arrives
    warp_state states[geometry::warps];  // when all tiles are done
  };
};

}  // namespace relpos::inline RELPOS_ABI
