#pragma once
// The two matrix products, as register tiles: accumulators of `Rows` broadcast values times `Vectors`
// vectors of queries stay in registers over the whole inner loop. K and V are read where they lie,
// through one pointer per row; only the queries are packed.

#include "relpos/core/index.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, int Rows, int Vectors>
struct register_tile {
  float_pack<Isa> at[Rows][Vectors];
};

/// S^T[key][query] = sum over channels of keys[key][channel] * queries[channel][query], for `Rows`
/// keys; `queries` is [channels][Vectors * lanes].
template <class Isa, int Rows, int Vectors>
RELPOS_INLINE register_tile<Isa, Rows, Vectors> score_product(const float* const* keys,
                                                              const float* queries,
                                                              index channels) {
  using real = float_pack<Isa>;
  constexpr index width = Vectors * lanes<Isa>;
  register_tile<Isa, Rows, Vectors> sum;
  const float* row[Rows];
  unroll<Rows>([&](auto r) RELPOS_LAMBDA {
    row[r] = keys[r];
    unroll<Vectors>([&](auto v) RELPOS_LAMBDA { sum.at[r][v] = real(0.0f); });
  });
  for (index c = 0; c < channels; ++c) {
    real query[Vectors];
    unroll<Vectors>(
        [&](auto v) RELPOS_LAMBDA { query[v] = real::load(queries + c * width + v * lanes<Isa>); });
    unroll<Rows>([&](auto r) RELPOS_LAMBDA {
      const real key(row[r][c]);
      unroll<Vectors>([&](auto v)
                          RELPOS_LAMBDA { sum.at[r][v] = fma(key, query[v], sum.at[r][v]); });
    });
  }
  return sum;
}

/// O^T[channel][query] = rescale[query] * O^T + sum over keys of values[key][channel] * weights[key][query],
/// for `Rows` channels from `channel` on.
///
/// The sum of a tile is kept apart from O, so that rounding does not grow with the number of keys. It starts
/// from 2^-20 of rescale * O and not from zero: sums of tiny weights would be subnormal, and several times
/// slower. The rest of O is added at the end; where every weight is zero and rescale is 1, the two parts
/// make the same O again, bit for bit, fused or not.
///
/// `Guarded` leaves out products with a weight of exactly zero: the value of a key that this query does
/// not see may be infinite or not a number.
template <class Isa, int Rows, int Vectors, bool Guarded>
RELPOS_INLINE void value_product(const float* const* values, const float* weights, index keys,
                                 index channel, const float_pack<Isa> (&rescale)[Vectors],
                                 float* outputs) {
  using real = float_pack<Isa>;
  constexpr index width = Vectors * lanes<Isa>;
  constexpr float start = 0x1p-20f;
  register_tile<Isa, Rows, Vectors> sum;
  unroll<Rows>([&](auto r) RELPOS_LAMBDA {
    unroll<Vectors>([&](auto v) RELPOS_LAMBDA {
      const real output = real::load(outputs + (channel + r) * width + v * lanes<Isa>);
      sum.at[r][v] = rescale[v] * real(start) * output;
    });
  });
  for (index k = 0; k < keys; ++k) {
    const float* const row = values[k] + channel;
    real weight[Vectors];
    unroll<Vectors>([&](auto v) RELPOS_LAMBDA {
      weight[v] = real::load(weights + k * width + v * lanes<Isa>);
    });
    unroll<Rows>([&](auto r) RELPOS_LAMBDA {
      const real value(row[r]);
      unroll<Vectors>([&](auto v) RELPOS_LAMBDA {
        const real next = fma(value, weight[v], sum.at[r][v]);
        sum.at[r][v] = Guarded ? select(weight[v] == real(0.0f), sum.at[r][v], next) : next;
      });
    });
  }
  unroll<Rows>([&](auto r) RELPOS_LAMBDA {
    unroll<Vectors>([&](auto v) RELPOS_LAMBDA {
      float* const at = outputs + (channel + r) * width + v * lanes<Isa>;
      fma(rescale[v] * real(1.0f - start), real::load(at), sum.at[r][v]).store(at);
    });
  });
}

/// The same for all channels. The guarded product is rare and may be slow: one channel at a time is less
/// code to compile into every call.
template <class Isa, int Vectors, bool Guarded>
RELPOS_NOINLINE void accumulate_values(const float* const* values, const float* weights, index keys,
                                       index channels, const float_pack<Isa> (&rescale)[Vectors],
                                       float* outputs) {
  constexpr int rows = Guarded ? 1 : Isa::tile_rows;
  index c = 0;
  for (; c + rows <= channels; c += rows) {
    value_product<Isa, rows, Vectors, Guarded>(values, weights, keys, c, rescale, outputs);
  }
  for (; c < channels; ++c) {
    value_product<Isa, 1, Vectors, Guarded>(values, weights, keys, c, rescale, outputs);
  }
}

/// Whether all of a row's values are finite.
template <class Isa>
RELPOS_INLINE bool all_finite(const float* row, index count) {
  using real = float_pack<Isa>;
  real zeros(0.0f);  // x * 0 is 0 for a finite x only, and a sum keeps what is not a number
  index i = 0;
  for (; i + lanes<Isa> <= count; i += lanes<Isa>)
    zeros = fma(real::load(row + i), real(0.0f), zeros);
  float rest = 0.0f;
  for (; i < count; ++i) rest += row[i] * 0.0f;
  return rest == 0.0f && !any((zeros == real(0.0f)) == int_pack<Isa>(0));
}

}  // namespace relpos::inline RELPOS_ABI
