#pragma once

#include <algorithm>

#include "relpos/cuda/fragment/shared_rows.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

/// Begins to copy a tile of keys, or values, of one head of a sequence, from row `begin` on. Rows
/// outside of the sequence become zeros.
template <int Threads, class Arch, class T, int Rows, int Channels>
RELPOS_DEVICE void copy_tile(Arch& arch, int thread, const view<const T, 4>& from,
                             const device_rows& rows, index_t head, index_t begin,
                             const shared_rows<T, Rows, Channels>& to) {
  const T* const first = from.address(rows.batch, head, rows.first, 0);
  const index_t stride = from.strides[2];
  const auto exist_from = static_cast<int>(std::clamp<index_t>(-begin, 0, Rows));
  const auto exist_to = static_cast<int>(std::clamp<index_t>(rows.count - begin, 0, Rows));
  to.template copy<Threads>(arch, thread, first + begin * stride, stride, exist_from, exist_to,
                            first);
}

}  // namespace relpos::inline RELPOS_ABI
