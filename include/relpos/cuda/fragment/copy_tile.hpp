#pragma once
// The copy of a tile of keys or values from device memory to shared memory. shared_rows.hpp has its
// loop, arch/sm80.hpp the asynchronous copy of 16 bytes.

#include <algorithm>

#include "relpos/cuda/fragment/shared_rows.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

/// Begins to copy a tile of keys, or values, of one head of a sequence, from row `begin` on. Rows
/// outside of the sequence become zeros.
template <int Threads, class Arch, class T, int Rows, int Channels>
RELPOS_DEVICE void copy_tile(Arch& arch, int thread, const view<const T, 4>& source,
                             const device_rows& rows, index_t head, index_t begin,
                             const shared_rows<T, Rows, Channels>& destination) {
  const T* const first = source.address(rows.batch, head, rows.first, 0);
  const index_t stride = source.strides[2];
  const auto first_row = static_cast<int>(std::clamp<index_t>(-begin, 0, Rows));
  const auto last_row = static_cast<int>(std::clamp<index_t>(rows.count - begin, 0, Rows));
  destination.template copy<Threads>(arch, thread, first + begin * stride, stride, first_row,
                                     last_row, first);
}

}  // namespace relpos::inline RELPOS_ABI
