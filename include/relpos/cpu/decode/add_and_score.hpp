#pragma once
// Both products of decode for one query at the same time: the values of one tile are added while
// the keys of the next are scored. Two streams of rows keep more of the memory busy than one stream
// after the other. The results have the bits of the single products (micro_kernel.hpp).

#include <algorithm>
#include <type_traits>

#include "relpos/core/storage.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/cpu/decode/micro_kernel.hpp"
#include "relpos/rows/prefetch_row.hpp"
#include "relpos/simd/load_vectors.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Prefetches one stored row. If rows are contiguous and have more than two lines, every second
/// line is enough: the hardware prefetcher recognizes them, and fetches the other lines sooner than
/// the requests would. With rows in pages it recognizes too little.
template <int Lines, bool OneRun, class Stored>
RELPOS_INLINE void fetch_stored_row(const Stored* row) {
  constexpr int step = OneRun && Lines > 2 ? 2 : 1;
  RELPOS_UNROLL
  for (int i = 0; i < Lines / step; ++i) {
    fetch_line(reinterpret_cast<const char*>(row) + 64 * step * i);
  }
}

/// Both products row by row, for lanes [0, tile_keys) of both tiles. Needs many registers.
template <class Isa, int Vectors, bool OneRun, class Stored>
RELPOS_NOINLINE void add_and_score(const row_stream<Stored>& values, const float* weights,
                                   float rescale, float* output, const row_stream<Stored>& keys,
                                   const float* query, float* scores) {
  using real = float_pack<Isa>;
  constexpr index_t tile = decode_geometry::tile_keys;
  constexpr index_t row_bytes = bytes_of_row<Stored>(Vectors * lanes<Isa>);
  constexpr int lines = static_cast<int>(ceil_div(row_bytes, 64));
  // The prefetch distance in keys. If rows are contiguous, the shortest distance that is enough is
  // the best; otherwise it is one tile.
  constexpr index_t enough = decode_geometry::prefetch_bytes / row_bytes / lanes<Isa> * lanes<Isa>;
  constexpr index_t distance = OneRun ? std::clamp<index_t>(enough, lanes<Isa>, tile) : tile;
  real sum[Vectors];
  real part[Vectors];
  RELPOS_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    sum[v] = real(rescale) * real::load(output + v * lanes<Isa>);
    part[v] = real::load(query + v * lanes<Isa>);
  }
  for (index_t k = 0; k < tile; k += lanes<Isa>) {
    const auto later = [&](const row_stream<Stored>& stream) RELPOS_LAMBDA {
      return k + distance < tile ? stream.rows + k + distance : stream.next + k + distance - tile;
    };
    const Stored* const* const later_keys = later(keys);
    const Stored* const* const later_values = later(values);
    real score[lanes<Isa>];
    RELPOS_UNROLL
    for (int i = 0; i < lanes<Isa>; ++i) {
      fetch_stored_row<lines, OneRun>(later_keys[i]);
      fetch_stored_row<lines, OneRun>(later_values[i]);
      real key[Vectors];
      real value[Vectors];
      load_vectors<Isa>(keys.rows[k + i], 0, key);
      load_vectors<Isa>(values.rows[k + i], 0, value);
      const real weight(weights[k + i]);
      score[i] = real(0.0f);
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        score[i] = fma(key[v], part[v], score[i]);
        sum[v] = fma(value[v], weight, sum[v]);
      }
    }
    sum_lanes<Isa>(score).store(scores + k);
  }
  RELPOS_UNROLL
  for (int v = 0; v < Vectors; ++v) sum[v].store(output + v * lanes<Isa>);
}

/// Whether add_and_score_in_turns is faster than the single products, which it is with AVX2 for 16
/// and 32 bits. It is not for 8 and 4 bits, nor with 128-bit vectors (docs/limits.md).
template <class Isa, class Key, class Value>
inline constexpr bool takes_turns =
    !has_many_registers<Isa> && lanes<Isa> >= 8 && sizeof(Key) >= 2 && sizeof(Value) >= 2 &&
    !grouped_storage<Key> && !grouped_storage<Value>;

/// The scores of as many keys as a vector has lanes, `Rows` of them at a time, from their first
/// channel to their last. `Vectors` is the number of vectors in `width`, or 0 for any number.
template <class Isa, int Rows, int Vectors, class Stored>
RELPOS_NOINLINE void score_in_order(const Stored* const* keys, const float* query, index_t width,
                                    float* scores) {
  using real = float_pack<Isa>;
  real score[lanes<Isa>];
  RELPOS_UNROLL
  for (int first = 0; first < lanes<Isa>; first += Rows) {
    RELPOS_UNROLL
    for (int i = first; i < first + Rows; ++i) score[i] = real(0.0f);
    const auto add = [&](index_t c) RELPOS_LAMBDA {
      const real part = real::load(query + c);
      RELPOS_UNROLL
      for (int i = first; i < first + Rows; ++i) {
        score[i] = fma(load_channels<Isa>(keys[i], c), part, score[i]);
      }
    };
    if constexpr (Vectors > 0) {
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) add(v * lanes<Isa>);
    } else {
      for (index_t c = 0; c < width; c += lanes<Isa>) add(c);
    }
  }
  sum_lanes<Isa>(score).store(scores);
}

/// Both products for lanes [0, tile_keys) of both tiles, a few rows of values and as many of keys
/// in turn: the registers hold the sums of one product at a time. Nothing is prefetched: the
/// processor recognizes two streams of so small pieces, and its own requests are cheaper.
template <class Isa, class Key, class Value>
void add_and_score_in_turns(const Value* const* values, const float* weights, float rescale,
                            index_t value_width, float* output, const Key* const* keys,
                            const float* query, index_t key_width, float* scores) {
  // Two keys share the loads of the query. Two long rows would be two streams.
  constexpr auto rows = [](index_t vectors) {
    return bytes_of_row<Key>(vectors * lanes<Isa>) <= 256 ? 2 : 1;
  };
  for (index_t k = 0; k < decode_geometry::tile_keys; k += lanes<Isa>) {
    const float factor = k == 0 ? rescale : 1.0f;
    index_t channel = 0;
    const auto add = [&](auto vectors) {
      for (; channel + vectors * lanes<Isa> <= value_width; channel += vectors * lanes<Isa>) {
        add_values<Isa, 1, vectors, false, 0>(values, k, k + lanes<Isa>, weights, &factor, channel,
                                              value_width, {}, output);
      }
    };
    add(std::integral_constant<int, 8>());
    add(std::integral_constant<int, 2>());
    add(std::integral_constant<int, 1>());
    if (key_width == 8 * lanes<Isa>) {
      score_in_order<Isa, rows(8), 8>(keys + k, query, key_width, scores + k);
    } else if (key_width == 16 * lanes<Isa>) {
      score_in_order<Isa, rows(16), 16>(keys + k, query, key_width, scores + k);
    } else if (rows(key_width / lanes<Isa>) == 2) {
      score_in_order<Isa, 2, 0>(keys + k, query, key_width, scores + k);
    } else {
      score_in_order<Isa, 1, 0>(keys + k, query, key_width, scores + k);
    }
  }
}

}  // namespace relpos::inline RELPOS_ABI
