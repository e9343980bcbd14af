#pragma once
// The online softmax (stage/softmax.hpp) of sixteen rows of a warp. A lane has two of the rows and
// sums the weights of its own columns; the four lanes of a row add up their sums at the end.

#include "relpos/core/math.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

struct softmax_fragment {
  float maximum[2] = {no_maximum,
                      no_maximum};  // of exponents, base 2; the same in the four lanes of a row
  float sum[2] = {0.0f, 0.0f};      // of weights relative to it, over this lane's columns

  /// The maximum, or the sum, of x over the four lanes of a row.
  template <class Arch>
  static RELPOS_DEVICE float row_maximum(Arch& arch, float x) {
    x = relpos::max(arch.shuffle_xor(x, 1), x);
    return relpos::max(arch.shuffle_xor(x, 2), x);
  }
  template <class Arch>
  static RELPOS_DEVICE float row_sum(Arch& arch, float x) {
    x += arch.shuffle_xor(x, 1);
    return x + arch.shuffle_xor(x, 2);
  }

  /// Turns the scores of one tile into weights. The caller multiplies the outputs so far by
  /// `rescale`.
  template <int Tiles, class Arch>
  RELPOS_DEVICE void add(Arch& arch, score_fragment<Tiles>& scores, float (&rescale)[2]) {
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      float largest = maximum[r];
      unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
        largest = relpos::max(scores.tiles[tile][2 * r], largest);
        largest = relpos::max(scores.tiles[tile][2 * r + 1], largest);
      });
      largest = row_maximum(arch, largest);
      rescale[r] = arch.exp2(maximum[r] - largest);
      maximum[r] = largest;
      sum[r] *= rescale[r];
      unroll<Tiles>([&](auto tile) RELPOS_LAMBDA {
        unroll<2>([&](auto i) RELPOS_LAMBDA {
          float& weight = scores.tiles[tile][2 * r + i];
          weight = arch.exp2(weight - largest);
          sum[r] += weight;
        });
      });
    });
  }
};

}  // namespace relpos::inline RELPOS_ABI
