#pragma once
// The online softmax of a warp's sixteen rows (Milakov and Gimelshein, arXiv 1805.02867), of which a lane has two: as
// much of their sums as its columns give, until they are added up at the end.

#include <limits>

#include "relpos/core/math.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/score_fragment.hpp"

namespace relpos::inline RELPOS_ABI {

/// Below any score and yet finite, so that subtracting it from itself is not NaN: the maximum of a row that has seen no
/// key.
inline constexpr float nothing_seen = std::numeric_limits<float>::lowest();

struct softmax_fragment {
  float maximum[2] = {nothing_seen,
                      nothing_seen};  // of exponents, base 2; the same in the four lanes of a row
  float sum[2] = {0.0f, 0.0f};        // of weights relative to it, in this lane's columns

  /// The larger, or the sum, over the four lanes of a row.
  template <class Machine>
  static RELPOS_DEVICE float row_maximum(Machine& machine, float x) {
    x = relpos::max(machine.shuffle_xor(x, 1), x);
    return relpos::max(machine.shuffle_xor(x, 2), x);
  }
  template <class Machine>
  static RELPOS_DEVICE float row_sum(Machine& machine, float x) {
    x += machine.shuffle_xor(x, 1);
    return x + machine.shuffle_xor(x, 2);
  }

  /// Scores of one tile become weights; what was summed before is to be multiplied by `rescale`.
  template <int Tiles, class Machine>
  RELPOS_DEVICE void add(Machine& machine, score_fragment<Tiles>& scores, float (&rescale)[2]) {
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      float largest = maximum[r];
      unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
        largest = relpos::max(scores.at[tile][2 * r], largest);
        largest = relpos::max(scores.at[tile][2 * r + 1], largest);
      });
      largest = row_maximum(machine, largest);
      rescale[r] = machine.exp2(maximum[r] - largest);
      maximum[r] = largest;
      sum[r] *= rescale[r];
      unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
        unroll<2>([&](auto i) RELPOS_LAMBDA {
          float& weight = scores.at[tile][2 * r + i];
          weight = machine.exp2(weight - largest);
          sum[r] += weight;
        });
      });
    });
  }
};

}  // namespace relpos::inline RELPOS_ABI
