#pragma once
// Rows as bfloat16 numbers, the operands of products of pairs.

#include <algorithm>
#include <concepts>

#include "relpos/call/kv_source.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/simd/bfloat16/pair_pack.hpp"
#include "relpos/simd/transpose.hpp"

namespace relpos::inline RELPOS_ABI {

/// Rounds `channels` floats; a subnormal number becomes zero.
template <class Isa>
void round_row(const float* source, index_t channels, bfloat16* out) {
  using real = float_pack<Isa>;
  constexpr index_t width = lanes<Isa>;
  index_t c = 0;
  for (; c + 2 * width <= channels; c += 2 * width) {
    pair_pack<Isa>::rounded_neighbours(real::load(source + c), real::load(source + c + width))
        .store(out + c);
  }
  if (c == channels) return;
  float rest[2 * width] = {};
  std::copy(source + c, source + channels, rest);
  bfloat16 rounded[2 * width];
  pair_pack<Isa>::rounded_neighbours(real::load(rest), real::load(rest + width)).store(rounded);
  std::copy(rounded, rounded + (channels - c), out + c);
}

/// One row: in place if it is stored as contiguous bfloat16 numbers, else rounded into `buffer`.
/// `row_buffer` has room for the row as floats.
template <class Isa, stored_rows Rows>
const bfloat16* read_rounded_row(const Rows& rows, index_t row, index_t channels, float* row_buffer,
                                 bfloat16* buffer) {
  if constexpr (std::same_as<typename Rows::stored, bfloat16>) {
    if (rows.are_contiguous()) {
      const bfloat16* in_place = nullptr;
      rows.find(row, 1, &in_place);
      return in_place;
    }
  }
  round_row<Isa>(read_row(rows, row, row_buffer), channels, buffer);
  return buffer;
}

/// Pairs the numbers of two rows. A null row is zero.
template <class Isa>
void join_rows(const bfloat16* first, const bfloat16* second, index_t channels,
               bfloat16_pair* out) {
  index_t c = 0;
  if (first != nullptr && second != nullptr) {
    for (; c + lanes<Isa> <= channels; c += lanes<Isa>) {
      pair_pack<Isa>::joined(first + c, second + c).store(out + c);
    }
  }
  for (; c < channels; ++c) {
    out[c] = {first == nullptr ? bfloat16() : first[c], second == nullptr ? bfloat16() : second[c]};
  }
}

/// Pairs the numbers of rows 2 i and 2 i + 1 of as many rows as two vectors have lanes, by channel:
/// `out` is [channel][i], padded with zeros to whole vectors of channels. A null row is zero.
template <class Isa>
void join_columns(const bfloat16* const* rows, index_t channels, bfloat16_pair* out) {
  using real = float_pack<Isa>;
  constexpr index_t n = lanes<Isa>;
  for (index_t c = 0; c < channels; c += n) {
    const auto from = [&](index_t row) { return rows[row] == nullptr ? nullptr : rows[row] + c; };
    real block[n];
    for (index_t i = 0; i < n; ++i) {
      bfloat16_pair pairs[n] = {};
      join_rows<Isa>(from(2 * i), from(2 * i + 1), std::min(n, channels - c), pairs);
      block[i] = real::load(reinterpret_cast<const float*>(pairs));
    }
    transpose<Isa>(block);
    for (index_t i = 0; i < n; ++i) block[i].store(reinterpret_cast<float*>(out + (c + i) * n));
  }
}

}  // namespace relpos::inline RELPOS_ABI
