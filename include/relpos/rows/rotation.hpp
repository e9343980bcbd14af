#pragma once
// Rotation in the kernel. Each row is rotated once, by its offset in the block
// (contract/rotation.hpp). The rotor between the blocks of queries and keys multiplies the packed
// queries once per 512 keys. Rotated channels of queries and keys are in half-split order, whatever
// the layout.

#include <algorithm>

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/kv_source.hpp"
#include "relpos/rows/prefetch_row.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Rotates one row of `channels`; `rotors` is a row of the table, [2][pairs].
template <class Isa>
RELPOS_INLINE void rotate_row(const float* source, const float* rotors,
                              const rotated_channels& rotated_part, index_t channels, float* out) {
  using real = float_pack<Isa>;
  const index_t pairs = rotated_part.pairs;
  const bool interleaved = rotated_part.layout == pair_layout::interleaved;
  std::copy(source + rotated_part.end(), source + channels, out + rotated_part.end());
  std::copy(source, source + rotated_part.first, out);
  source += rotated_part.first;
  out += rotated_part.first;
  index_t i = 0;
  for (; i + lanes<Isa> <= pairs; i += lanes<Isa>) {
    const real low = real::load(source + (interleaved ? 2 * i : i));
    const real high = real::load(source + (interleaved ? 2 * i + lanes<Isa> : i + pairs));
    const real a = interleaved ? real::evens(low, high) : low;
    const real b = interleaved ? real::odds(low, high) : high;
    const auto rotated = channel_pair<real>{a, b} *
                         channel_pair<real>{real::load(rotors + i), real::load(rotors + pairs + i)};
    rotated.a.store(out + i);
    rotated.b.store(out + pairs + i);
  }
  // Without channel_pair: if this loop used fma, clang++ 14 would need 6 % more instructions per
  // score in the loop above.
  for (; i < pairs; ++i) {
    const float a = source[interleaved ? 2 * i : i];
    const float b = source[interleaved ? 2 * i + 1 : i + pairs];
    out[i] = a * rotors[i] - b * rotors[pairs + i];
    out[pairs + i] = a * rotors[pairs + i] + b * rotors[i];
  }
}

/// The rows of another source, rotated. `buffer` has room for one row that is not in place.
template <class Isa, row_source Source>
struct rotated_rows {
  const Source& source;
  rotation_rows rotations;
  const float* table;  // of queries or of keys
  index_t offset;      // position of row 0
  index_t rows;        // of the source
  index_t channels;
  float* buffer;

  static const float* in_place(index_t) { return nullptr; }
  // Rows are rotated in order. Waiting for memory takes most of the time, so rows are prefetched.
  void load(index_t row, float* out) const {
    constexpr index_t ahead = 16;
    const index_t bytes = channels * static_cast<index_t>(sizeof(float));
    if (row + ahead < rows) prefetch_row(source.in_place(row + ahead), bytes);
    rotate_row<Isa>(read_row(source, row, buffer), rotations.row_of(table, row + offset),
                    rotations.channels(), channels, out);
  }
};

/// Contiguous rows of floats.
struct packed_rows {
  using stored = float;
  static constexpr bool is_scaled = false;

  const float* data;
  index_t channels;

  static bool are_contiguous() { return true; }
  void find(index_t first, index_t count, const float** out) const {
    for (index_t i = 0; i < count; ++i) out[i] = in_place(first + i);
  }
  RELPOS_INLINE const float* in_place(index_t row) const { return data + row * channels; }
  static void load(index_t, float*) {}
};

}  // namespace relpos::inline RELPOS_ABI
