#pragma once

#include "relpos/call/visible_rows.hpp"
#include "relpos/cuda/fragment/score_stages.hpp"
#include "relpos/cuda/fragment/shared_rows.hpp"
#include "relpos/cuda/fragment/statistics_fragment.hpp"
#include "relpos/cuda/prefill/geometry.hpp"

namespace relpos::inline RELPOS_ABI {

/// The shared memory of a block.
template <class T, int HeadDim>
struct prefill_shared_storage {
  using geometry = prefill_block_geometry<T, HeadDim>;
  using query_rows = shared_rows<T, geometry::rows, HeadDim>;
  using key_rows = shared_rows<T, geometry::keys, HeadDim>;
  using weight_rows = shared_rows<T, geometry::warps * 16, geometry::keys>;

  key_span visible[geometry::warps][geometry::row_tiles][16];
  visible_rows warp_visible[geometry::warps];
  visible_rows block_visible;
  float query_norms[geometry::rows];
  /// The statistics of each lane's rows, if the call asks for them.
  statistics_sums statistics[geometry::threads][geometry::row_tiles][2];
  alignas(16) T queries[query_rows::size];
  /// The keys of a tile and of the next one. If a value of the tile is not finite, weights replace
  /// its keys once their scores are computed.
  alignas(16) T keys[2][key_rows::size];
  alignas(16) T values[key_rows::size];
  static_assert(weight_rows::size <= key_rows::size);
};

}  // namespace relpos::inline RELPOS_ABI
