#pragma once
// The two products of decode, with channels in the SIMD lanes: a row of keys or values is read
// once, in its stored type, for all queries. Memory reads are the limit; with several queries,
// arithmetic must keep up with them.

#include <algorithm>
#include <type_traits>

#include "relpos/core/storage.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/rows/prefetch_row.hpp"
#include "relpos/simd/load_vectors.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Enough registers to hold the rows of models, 4 or 8 vectors.
template <class Isa>
inline constexpr bool has_many_registers = Isa::registers >= 32;

/// Lane i of the result is the sum of the lanes of parts[i]. Neighbours are added first in every
/// part, so the bits of a sum do not depend on the other parts. Overwrites `parts`.
template <class Isa>
RELPOS_INLINE float_pack<Isa> sum_lanes(float_pack<Isa> (&parts)[lanes<Isa>]) {
  using real = float_pack<Isa>;
  static_assert(lanes<Isa> >= 4);
  constexpr int steps = __builtin_ctz(static_cast<unsigned>(lanes<Isa>));
  // Not under RELPOS_UNROLL: g++ 12 ignores it here, with a warning, and keeps the parts in memory.
  unroll<steps>([&](auto step) RELPOS_LAMBDA {
    unroll<(lanes<Isa> >> (step + 1))>([&](int i) RELPOS_LAMBDA {
      const real a = parts[2 * i];
      const real b = parts[2 * i + 1];
      // After two steps every four lanes hold the sums of those lanes, for four parts.
      if constexpr (step < 2) {
        parts[i] = real::add_neighbours(a, b);
      } else {
        parts[i] = real::add_neighbouring_fours(a, b);
      }
    });
  });
  return parts[0];
}

/// What is prefetched during the products, so that the memory has no pause.
struct rows_ahead {
  const void* const* rows = nullptr;
  index_t first_line = 0;  // cache lines [first_line, last_line) from the beginning of each row on
  index_t last_line = 0;

  /// The share of pass `i` of `count` passes over the same rows.
  constexpr rows_ahead part(index_t i, index_t count) const {
    const index_t lines = last_line - first_line;
    return {rows, first_line + lines * i / count, first_line + lines * (i + 1) / count};
  }

  /// Prefetches the lines of row `i`. `Lines` is their number, or 0 for any number: a loop beside
  /// the products takes a tenth of their time.
  template <int Lines = 0>
  RELPOS_INLINE void fetch(index_t i) const {
    const auto fetch = [&](index_t line) RELPOS_LAMBDA { fetch_line_after(rows[i], line); };
    if constexpr (Lines > 0) {
      RELPOS_UNROLL
      for (int line = 0; line < Lines; ++line) fetch(first_line + line);
    } else {
      for (index_t line = first_line; line < last_line; ++line) fetch(line);
    }
  }

  /// Calls use(std::integral_constant<int, Lines>()) with the number of lines if it is 1, 2 or 4,
  /// otherwise with 0.
  template <class Use>
  void with_lines(const Use& use) const {
    switch (last_line - first_line) {
      case 1:
        return use(std::integral_constant<int, 1>());
      case 2:
        return use(std::integral_constant<int, 2>());
      case 4:
        return use(std::integral_constant<int, 4>());
      default:
        return use(std::integral_constant<int, 0>());
    }
  }
};

/// The rows of a whole tile, and the rows of the tile after it, which are prefetched.
template <class Stored>
struct row_stream {
  const Stored* const* rows;
  const Stored* const* next;
  bool is_one_run;  // rows are contiguous
};

/// The scores of `Queries` rows of `queries`, `width` floats each, and `count` = lanes / Queries
/// keys: lane q * count + k. `Vectors` is the number of vectors in `width`, or 0 for any number.
template <class Isa, int Queries, int Vectors, class Stored>
RELPOS_INLINE float_pack<Isa> dot_products(const Stored* const* keys, const float* queries,
                                           index_t width) {
  using real = float_pack<Isa>;
  constexpr int count = lanes<Isa> / Queries;
  if constexpr (Vectors > 0) width = Vectors * lanes<Isa>;
  const Stored* row[count];
  real sum[lanes<Isa>];
  RELPOS_UNROLL
  for (int k = 0; k < count; ++k) {
    row[k] = keys[k];
    RELPOS_UNROLL
    for (int q = 0; q < Queries; ++q) sum[q * count + k] = real(0.0f);
  }
  // With few registers a key is converted block by block, in any width.
  if constexpr (loads_blocks_of<Isa, Vectors, Stored> ||
                (loads_blocks<Isa, Stored> && Vectors == 0 && !has_many_registers<Isa>)) {
    constexpr int pass = [] {
      if constexpr (Vectors > 0) return Vectors;
      return block_ops<Isa, Stored>::vectors;
    }();
    RELPOS_UNROLL
    for (int k = 0; k < count; ++k) {
      index_t c = 0;
      for (; c + pass * lanes<Isa> <= width; c += pass * lanes<Isa>) {
        real key[pass];
        load_vectors<Isa>(row[k], c, key);
        RELPOS_UNROLL
        for (int v = 0; v < pass; ++v) {
          RELPOS_UNROLL
          for (int q = 0; q < Queries; ++q) {
            const real query = real::load(queries + q * width + c + v * lanes<Isa>);
            sum[q * count + k] = fma(key[v], query, sum[q * count + k]);
          }
        }
      }
      if constexpr (Vectors == 0 && !grouped_storage<Stored>) {
        for (; c < width; c += lanes<Isa>) {
          const real key = load_channels<Isa>(row[k], c);
          RELPOS_UNROLL
          for (int q = 0; q < Queries; ++q) {
            sum[q * count + k] = fma(key, real::load(queries + q * width + c), sum[q * count + k]);
          }
        }
      }
    }
  } else {
    const auto add = [&](index_t c) RELPOS_LAMBDA {
      real query[Queries];
      RELPOS_UNROLL
      for (int q = 0; q < Queries; ++q) query[q] = real::load(queries + q * width + c);
      RELPOS_UNROLL
      for (int k = 0; k < count; ++k) {
        const real key = load_channels<Isa>(row[k], c);
        if constexpr (Queries > 1) RELPOS_FORGET_MEMORY();  // else loaded again for every query
        RELPOS_UNROLL
        for (int q = 0; q < Queries; ++q) {
          sum[q * count + k] = fma(key, query[q], sum[q * count + k]);
        }
      }
    };
    if constexpr (Vectors > 0) {
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) add(v * lanes<Isa>);
    } else {
      for (index_t c = 0; c < width; c += lanes<Isa>) add(c);
    }
  }
  return sum_lanes<Isa>(sum);
}

/// Writes the scores, [row][tile_keys], of `Queries` rows and keys [first, last), multiples of the
/// number of lanes. `Ahead` is the number of lines of a row to prefetch, or 0 for any number.
template <class Isa, int Queries, int Vectors, int Ahead, class Stored>
RELPOS_NOINLINE void score_rows(const Stored* const* keys, index_t first, index_t last,
                                const float* queries, index_t width, const rows_ahead& ahead,
                                float* scores) {
  constexpr int count = lanes<Isa> / Queries;
  for (index_t k = first; k < last; k += count) {
    RELPOS_UNROLL
    for (int i = 0; i < count; ++i) ahead.template fetch<Ahead>(k + i);
    const float_pack<Isa> block = dot_products<Isa, Queries, Vectors>(keys + k, queries, width);
    if constexpr (Queries == 1) {
      block.store(scores + k);
    } else {
      float values[lanes<Isa>];
      block.store(values);
      RELPOS_UNROLL
      for (int q = 0; q < Queries; ++q) {
        __builtin_memcpy(scores + q * decode_geometry::tile_keys + k, values + q * count,
                         count * sizeof(float));
      }
    }
  }
}

/// score_rows for any number of rows. It takes block_keys keys at a time, which stay in the L1
/// cache.
template <class Isa, class Stored>
void score_all_rows(const Stored* const* keys, index_t first, index_t last, const float* queries,
                    index_t width, index_t rows, const rows_ahead& ahead, float* scores) {
  constexpr index_t tile = decode_geometry::tile_keys;
  const index_t passes = rows / 4 + rows % 4 / 2 + rows % 2;
  const auto score_block = [&](index_t begin, index_t end) {
    index_t pass = 0;
    index_t row = 0;
    const auto score = [&]<int Queries, int Vectors>(std::integral_constant<int, Queries> some,
                                                     std::integral_constant<int, Vectors>) {
      for (; row + some <= rows; row += some) {
        const rows_ahead part = ahead.part(pass++, passes);
        const auto score_some = [&]<int Ahead>(std::integral_constant<int, Ahead>) {
          score_rows<Isa, Queries, Vectors, Ahead>(keys, begin, end, queries + row * width, width,
                                                   part, scores + row * tile);
        };
        if constexpr (Vectors > 0) {
          part.with_lines(score_some);
        } else {
          score_some(std::integral_constant<int, 0>());
        }
      }
    };
    constexpr auto four = std::integral_constant<int, 4>();
    constexpr auto any = std::integral_constant<int, 0>();
    constexpr auto two = std::integral_constant<int, 2>();
    constexpr auto one = std::integral_constant<int, 1>();
    [[maybe_unused]] const auto score_vectors = [&](auto vectors) {
      score(four, vectors);
      if constexpr (loads_blocks_of<Isa, vectors, Stored>) {
        score(two, vectors);
        score(one, vectors);
      }
    };
    if constexpr (has_many_registers<Isa>) {
      if (width == 4 * lanes<Isa>) score_vectors(four);
      if (width == 8 * lanes<Isa>) score_vectors(std::integral_constant<int, 8>());
    }
    score(four, any);
    score(two, any);
    score(one, any);
  };
  const index_t block = passes == 1 ? tile : decode_geometry::block_keys;
  for (index_t k = first; k < last; k += block) score_block(k, std::min(k + block, last));
}

/// outputs[row][channel] = rescale[row] * outputs + sum of weights[row][key] * values[key][channel]
/// over keys [first, last), for `Rows` rows and `Vectors` vectors of channels from `channel` on.
///
/// `Guarded` leaves out products with a weight of exactly zero: the value of a key that this query
/// does not see may be infinite or NaN. `Ahead` is the same as in score_rows.
template <class Isa, int Rows, int Vectors, bool Guarded, int Ahead, class Stored>
RELPOS_NOINLINE void add_values(const Stored* const* values, index_t first, index_t last,
                                const float* weights, const float* rescale, index_t channel,
                                index_t width, const rows_ahead& ahead, float* outputs) {
  using real = float_pack<Isa>;
  constexpr index_t tile = decode_geometry::tile_keys;
  real sum[Rows][Vectors];
  RELPOS_UNROLL
  for (int r = 0; r < Rows; ++r) {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      sum[r][v] = real(rescale[r]) * real::load(outputs + r * width + channel + v * lanes<Isa>);
    }
  }
  for (index_t k = first; k < last; ++k) {
    ahead.template fetch<Ahead>(k);
    real value[Vectors];
    load_vectors<Isa>(values[k], channel, value);
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const float weight = weights[r * tile + k];
      if constexpr (Guarded) {
        if (weight == 0.0f) continue;
      }
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(value[v], real(weight), sum[r][v]);
    }
  }
  RELPOS_UNROLL
  for (int r = 0; r < Rows; ++r) {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      sum[r][v].store(outputs + r * width + channel + v * lanes<Isa>);
    }
  }
}

/// add_values for all rows and channels, block_keys values at a time. The guarded product is rare
/// and may be slow.
template <class Isa, bool Guarded, class Stored>
void add_all_values(const Stored* const* values, index_t first, index_t last, const float* weights,
                    const float* rescale, index_t rows, index_t width, const rows_ahead& ahead,
                    float* outputs) {
  constexpr index_t tile = decode_geometry::tile_keys;
  // Vectors in a pass. One row takes more where four rows take two: each product waits for the one
  // before it in the same sum.
  constexpr int of_four = has_many_registers<Isa> ? 4 : 2;
  constexpr int of_one = has_many_registers<Isa> ? 4 : 8;
  const index_t vectors = width / lanes<Isa>;
  const index_t passes =
      Guarded ? rows * vectors
              : rows / 4 * (vectors / of_four + vectors % of_four) +
                    rows % 4 * (vectors / of_one + vectors % of_one / of_four + vectors % of_four);
  const float one[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  const auto add_block = [&](index_t begin, index_t end) {
    index_t pass = 0;
    index_t row = 0;
    const auto add = [&]<int Rows>(std::integral_constant<int, Rows> some) {
      for (; row + some <= rows; row += some) {
        const auto channels = [&]<int Vectors>(std::integral_constant<int, Vectors>,
                                               index_t channel) {
          const rows_ahead part = ahead.part(pass++, passes);
          const auto add_some = [&]<int Ahead>(std::integral_constant<int, Ahead>) {
            add_values<Isa, Rows, Vectors, Guarded, Ahead>(
                values, begin, end, weights + row * tile, begin == first ? rescale + row : one,
                channel, width, part, outputs + row * width);
          };
          if constexpr (Rows > 1 && Vectors > 1) {
            part.with_lines(add_some);
          } else {
            add_some(std::integral_constant<int, 0>());
          }
        };
        index_t c = 0;
        const auto all_of = [&](auto most) {
          for (; c + most * lanes<Isa> <= width; c += most * lanes<Isa>) channels(most, c);
        };
        if constexpr (!Guarded) {
          if constexpr (some == 1) all_of(std::integral_constant<int, of_one>());
          all_of(std::integral_constant<int, of_four>());
        }
        all_of(std::integral_constant<int, 1>());
      }
    };
    if constexpr (!Guarded) add(std::integral_constant<int, 4>());
    add(std::integral_constant<int, 1>());
  };
  const index_t block = passes == 1 ? tile : decode_geometry::block_keys;
  for (index_t k = first; k < last; k += block) add_block(k, std::min(k + block, last));
}

/// Whether all values of keys [first, last) are finite.
template <class Isa, class Stored>
RELPOS_NOINLINE bool all_stored_finite(const Stored* const* values, index_t first, index_t last,
                                       index_t width) {
  using real = float_pack<Isa>;
  if constexpr (storage_traits<Stored>::is_always_finite) return true;
  // x * 0 is 0 for a finite x only, and a sum keeps NaN.
  real zeros(0.0f);
  for (index_t k = first; k < last; ++k) {
    for (index_t c = 0; c < width; c += lanes<Isa>) {
      zeros = fma(load_channels<Isa>(values[k], c), real(0.0f), zeros);
    }
  }
  return !any((zeros == real(0.0f)) == int_pack<Isa>(0));
}

}  // namespace relpos::inline RELPOS_ABI
