#pragma once
// Rows of channels in shared memory. Each row is padded by 16 bytes to an odd multiple of 16 bytes,
// so the eight rows of a matrix, which ldmatrix reads at once, lie in different banks.

#include "relpos/core/index.hpp"
#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

template <multiplied T, int Rows, int Channels>
struct shared_rows {
  static constexpr int chunk = 16 / static_cast<int>(sizeof(T));  // numbers of one copy
  static constexpr int stride = Channels + chunk;
  static constexpr int size = Rows * stride;
  static_assert(stride / chunk % 2 == 1);

  T* data;

  RELPOS_DEVICE T* at(int row, int channel) const { return data + row * stride + channel; }

  /// Begins to copy `Rows` rows. `Threads` threads share the copy, and this one is `thread`. Rows
  /// outside of [first, last) become zeros. `source` is the address of row 0, whether or not it
  /// exists, and `fallback` the address of a row that exists.
  template <int Threads, class Arch>
  RELPOS_DEVICE void copy(Arch& arch, int thread, const T* source, index_t row_stride, int first,
                          int last, const T* fallback) const {
    const auto row_at = [&](int row) RELPOS_LAMBDA {
      return first <= row && row < last ? source + row * row_stride : nullptr;
    };
    copy_each<Threads>(arch, thread, row_at, fallback);
  }
  /// The same for rows at any addresses: row_at(row) returns the address, null for zeros.
  template <int Threads, class Arch, class RowAt>
  RELPOS_DEVICE void copy_each(Arch& arch, int thread, const RowAt& row_at,
                               const T* fallback) const {
    constexpr int chunks = Channels / chunk;
    for (int i = thread; i < Rows * chunks; i += Threads) {
      const int row = i / chunks;
      const int channel = i % chunks * chunk;
      const T* const source = row_at(row);
      arch.copy(at(row, channel), source != nullptr ? source + channel : fallback,
                source != nullptr);
    }
  }

  /// The row that this lane names when it loads a fragment of 2 x 2 matrices. `RowsFirst`: matrix 1
  /// holds the rows below matrix 0, and 2 and 3 the next channels. Otherwise matrix 1 holds the
  /// next channels, and 2 and 3 the rows below.
  template <bool RowsFirst>
  RELPOS_DEVICE T* matrix_row(int row, int channel, int lane) const {
    const int matrix = lane / 8;
    const int row_half = RowsFirst ? matrix % 2 : matrix / 2;
    const int channel_half = RowsFirst ? matrix / 2 : matrix % 2;
    return at(row + row_half * 8 + lane % 8, channel + channel_half * chunk);
  }
};

}  // namespace relpos::inline RELPOS_ABI
