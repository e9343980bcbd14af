#pragma once

#include "relpos/core/visible_rows.hpp"
#include "relpos/cuda/forward_geometry.hpp"
#include "relpos/cuda/shared_rows.hpp"
#include "relpos/cuda/statistics_fragment.hpp"

namespace relpos::inline RELPOS_ABI {

/// The shared memory of a block.
template <class T, int HeadDim, bool Rotates>
struct forward_memory {
  using geometry = forward_geometry<T, HeadDim>;
  using query_rows = shared_rows<T, geometry::rows, HeadDim>;
  using key_rows = shared_rows<T, geometry::keys, HeadDim>;
  using weight_rows = shared_rows<T, geometry::rows, geometry::keys>;

  visible_rows of_warp[geometry::warps];
  visible_rows of_block;
  float query_norms[geometry::rows];
  statistics_sums statistics[geometry::threads]
                            [2];  // of the rows of a lane, where they are asked for
  alignas(16) T
      keys[2]
          [key_rows::size];  // of a tile and of the next; then weights, where values are not finite
  alignas(16) T values[key_rows::size];
  alignas(16) T queries[query_rows::size];
  alignas(16) T turned[Rotates ? query_rows::size : 1];  // to the origin of the keys at hand
  static_assert(weight_rows::size <= key_rows::size);
};

}  // namespace relpos::inline RELPOS_ABI
