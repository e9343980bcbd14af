#pragma once
// The two matrix products, as register tiles: accumulators of `Rows` broadcast values times
// `Vectors` vectors of queries stay in registers over the whole inner loop. K and V are read in
// place, through one pointer per row; only the queries are packed.

#include <algorithm>

#include "relpos/core/index.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cpu/prefill/operand.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/simd/tanh.hpp"

namespace relpos::inline RELPOS_ABI {

/// The keys of a tile that each vector of a group's queries needs: the first count[v]. count[v]
/// does not fall with v.
template <int Vectors>
struct needed_keys {
  index_t count[Vectors];

  /// Calls use(key, skipped) for every key, or for the first of every `Step`. `skipped`, a
  /// constant, is the number of leading vectors that need no more keys.
  template <index_t Step = 1, class Use>
  RELPOS_INLINE void for_each(const Use& use) const {
    index_t key = 0;
    unroll<Vectors>([&](auto skipped) RELPOS_LAMBDA {
      for (; key < count[skipped]; key += Step) use(key, skipped);
    });
  }
};

template <class Isa, int Rows, int Vectors>
struct register_tile {
  float_pack<Isa> vectors[Rows][Vectors];
};

/// S^T[key][query] = sum over channels of keys[key][channel] * queries[channel][query], for `Rows`
/// keys; `queries` is [channels][width]. `count` is the number of operands in a row.
template <class Isa, int Rows, int Vectors, class Operand>
RELPOS_INLINE register_tile<Isa, Rows, Vectors> score_product(const Operand* const* keys,
                                                              const Operand* queries, index_t width,
                                                              index_t count) {
  using real = float_pack<Isa>;
  using operands = operand_pack<Isa, Operand>;
  register_tile<Isa, Rows, Vectors> sum;
  const Operand* row[Rows];
  RELPOS_UNROLL
  for (int r = 0; r < Rows; ++r) {
    row[r] = keys[r];
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) sum.vectors[r][v] = real(0.0f);
  }
  for (index_t c = 0; c < count; ++c) {
    operands query[Vectors];
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      query[v] = operands::load(queries + c * width + v * lanes<Isa>);
    }
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const operands key(row[r][c]);
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) sum.vectors[r][v] = fma(key, query[v], sum.vectors[r][v]);
    }
  }
  return sum;
}

/// O^T[channel][query] = rescale[query] * O^T + sum over keys of values[key][channel] *
/// weights[key][query], for `Rows` channels from `channel` on.
///
/// The sum of a tile is kept apart from O, so that rounding does not grow with the number of keys.
/// A sum of floats starts from 2^-20 of rescale * O instead of zero: sums of tiny weights would be
/// subnormal, and several times slower. (Sums of pairs are never subnormal.) The rest of O is added
/// at the end. If every weight is zero and rescale is 1, the two parts make the same O again, bit
/// for bit, fused or not. `is_first`: O is zero so far, and its memory is not read.
///
/// `Guarded` leaves out products with a weight of exactly zero: the value of a key that this query
/// does not see may be infinite or not a number. `keys` counts operands.
///
/// Not inlined, so that the loop has all registers.
template <class Isa, int Rows, int Vectors, bool Guarded, class Operand>
RELPOS_NOINLINE void value_product(const Operand* const* values, const Operand* weights,
                                   const needed_keys<Vectors>& keys, index_t channel,
                                   const float_pack<Isa> (&rescale)[Vectors], bool is_first,
                                   float* outputs) {
  using real = float_pack<Isa>;
  using operands = operand_pack<Isa, Operand>;
  constexpr index_t width = Vectors * lanes<Isa>;
  constexpr float start = is_pair<Operand> ? 0.0f : 0x1p-20f;
  register_tile<Isa, Rows, Vectors> sum;
  RELPOS_UNROLL
  for (int r = 0; r < Rows; ++r) {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) sum.vectors[r][v] = real(0.0f);
  }
  if (!is_first && start != 0.0f) {
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        const real output = real::load(outputs + (channel + r) * width + v * lanes<Isa>);
        sum.vectors[r][v] = rescale[v] * real(start) * output;
      }
    }
  }
  keys.for_each([&](index_t k, auto skipped) RELPOS_LAMBDA {
    constexpr int used = Vectors - skipped;
    const Operand* const row = values[k] + channel;
    operands weight[used];
    RELPOS_UNROLL
    for (int v = 0; v < used; ++v) {
      weight[v] = operands::load(weights + k * width + (v + skipped) * lanes<Isa>);
    }
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const operands value(row[r]);
      RELPOS_UNROLL
      for (int v = 0; v < used; ++v) {
        real& total = sum.vectors[r][v + skipped];
        total =
            Guarded ? fma_where_weighted(value, weight[v], total) : fma(value, weight[v], total);
      }
    }
  });
  RELPOS_FORGET_MEMORY();
  if (is_first) {
    RELPOS_UNROLL
    for (int r = 0; r < Rows; ++r) {
      RELPOS_UNROLL
      for (int v = 0; v < Vectors; ++v) {
        // A sum of -0 becomes 0, as it does if it is added to outputs of 0.
        (sum.vectors[r][v] + real(0.0f)).store(outputs + (channel + r) * width + v * lanes<Isa>);
      }
    }
    return;
  }
  real rest[Vectors];
  RELPOS_UNROLL
  for (int v = 0; v < Vectors; ++v) rest[v] = rescale[v] * real(1.0f - start);
  RELPOS_UNROLL
  for (int r = 0; r < Rows; ++r) {
    RELPOS_UNROLL
    for (int v = 0; v < Vectors; ++v) {
      float* const output = outputs + (channel + r) * width + v * lanes<Isa>;
      fma(rest[v], real::load(output), sum.vectors[r][v]).store(output);
    }
  }
}

/// value_product for all channels. The guarded product is rare and may be slow: it takes one
/// channel at a time, which is less code to compile into every call.
template <class Isa, int Vectors, bool Guarded, class Operand>
RELPOS_INLINE void accumulate_values(const Operand* const* values, const Operand* weights,
                                     const needed_keys<Vectors>& keys, index_t channels,
                                     const float_pack<Isa> (&rescale)[Vectors], bool is_first,
                                     float* outputs) {
  constexpr int rows = Guarded ? 1 : Isa::tile_rows;
  index_t c = 0;
  for (; c + rows <= channels; c += rows) {
    value_product<Isa, rows, Vectors, Guarded>(values, weights, keys, c, rescale, is_first,
                                               outputs);
  }
  for (; c < channels; ++c) {
    value_product<Isa, 1, Vectors, Guarded>(values, weights, keys, c, rescale, is_first, outputs);
  }
}

/// Caps the scores of `Rows` keys in memory, [Rows][width], without the first `blind` vectors. Not
/// inlined: the constants of tanh would take registers of the products.
template <class Isa, int Rows, int Vectors>
RELPOS_NOINLINE void cap_scores(float softcap, index_t blind, float* scores) {
  using real = float_pack<Isa>;
  for (index_t r = 0; r < Rows; ++r) {
    for (index_t v = blind; v < Vectors; ++v) {
      float* const score = scores + (r * Vectors + v) * lanes<Isa>;
      (real(softcap) * tanh<Isa>(real::load(score))).store(score);
    }
  }
}

/// Whether all values of these rows are finite.
template <class Isa, class Operand>
RELPOS_NOINLINE bool all_finite(const Operand* const* rows, index_t count, index_t channels) {
  using real = float_pack<Isa>;
  using operands = operand_pack<Isa, Operand>;
  // x * 0 is 0 for a finite x only, and a sum keeps NaN. Four sums: a single sum would wait for
  // each addition.
  constexpr int parts = 4;
  const operands zero{Operand{}};
  real zeros[parts];
  RELPOS_UNROLL
  for (int part = 0; part < parts; ++part) zeros[part] = real(0.0f);
  float rest = 0.0f;
  for (index_t k = 0; k < count; k += parts) {
    const Operand* row[parts];
    RELPOS_UNROLL
    for (int i = 0; i < parts; ++i) row[i] = rows[std::min<index_t>(k + i, count - 1)];
    index_t c = 0;
    for (; c + lanes<Isa> <= channels; c += lanes<Isa>) {
      RELPOS_UNROLL
      for (int i = 0; i < parts; ++i) {
        zeros[i] = fma(operands::load(row[i] + c), zero, zeros[i]);
      }
    }
    for (; c < channels; ++c) {
      for (const Operand* const values : row) rest += zero_if_finite(values[c]);
    }
  }
  const real sum = (zeros[0] + zeros[1]) + (zeros[2] + zeros[3]);
  return rest == 0.0f && !any((sum == real(0.0f)) == int_pack<Isa>(0));
}

}  // namespace relpos::inline RELPOS_ABI
