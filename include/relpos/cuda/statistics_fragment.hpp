#pragma once
// What is told of the rows of a block beside their outputs. Each lane has the statistics of its two rows over its own
// columns, in shared memory, where they take no registers of calls that do not ask for them; they are joined when a row is
// done (kernel/merge_statistics.hpp has the formulas). Logits are in units of the exponent, base 2.

#include <cmath>

#include "relpos/core/scale.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cuda/forward_call.hpp"
#include "relpos/cuda/score_fragment.hpp"
#include "relpos/cuda/softmax_fragment.hpp"

namespace relpos::inline RELPOS_ABI {

/// Of one row over some of its keys.
struct statistics_sums {
  float spread = 0.0f;   // sum of weight (s - maximum)
  float count = 0.0f;    // of logits
  float mean = 0.0f;     // of them
  float squares = 0.0f;  // sum of (s - mean)^2

  /// Those of other keys of the same row.
  RELPOS_DEVICE void join(const statistics_sums& other) {
    const float both = count + other.count;
    const float part = both == 0.0f ? 0.0f : other.count / both;
    const float apart = other.mean - mean;
    spread += other.spread;
    squares += other.squares + apart * apart * count * part;
    mean = count == 0.0f ? other.mean : mean + apart * part;
    count = both;
  }
};

/// Scores of a lane's two rows in one tile, before they become weights.
template <int Tiles>
RELPOS_DEVICE void add_moments(const score_fragment<Tiles>& scores, statistics_sums (&of)[2]) {
  unroll<2>([&](auto r) RELPOS_LAMBDA {
    // Relative to one of them: sums of squares about zero would lose a small variance.
    statistics_sums tile;
    float origin = hidden_score;
    float sum = 0.0f;
    unroll<Tiles>([&](auto t) RELPOS_LAMBDA {
      unroll<2>([&](auto i) RELPOS_LAMBDA {
        const float score = scores.at[t][2 * r + i];
        if (score == hidden_score) return;
        if (tile.count == 0.0f) origin = score;
        const float apart = score - origin;
        tile.count += 1.0f;
        sum += apart;
        tile.squares += apart * apart;
      });
    });
    if (tile.count == 0.0f) return;
    const float step = sum / tile.count;
    tile.mean = origin + step;
    tile.squares -= step * sum;
    of[r].join(tile);
  });
}

/// Their weights, which are relative to the maximum of `now`; what was summed before, to that of `before`.
template <int Tiles>
RELPOS_DEVICE void add_spread(const score_fragment<Tiles>& weights, const softmax_fragment& before,
                              const softmax_fragment& now, const float (&rescale)[2],
                              statistics_sums (&of)[2]) {
  unroll<2>([&](auto r) RELPOS_LAMBDA {
    float spread = 0.0f;
    if (rescale[r] != 0.0f) {
      spread = rescale[r] * (of[r].spread + (before.maximum[r] - now.maximum[r]) * before.sum[r]);
    }
    unroll<Tiles>([&](auto t) RELPOS_LAMBDA {
      unroll<2>([&](auto i) RELPOS_LAMBDA {
        const float weight = weights.at[t][2 * r + i];
        if (weight != 0.0f) spread += weight * std::log2(weight);
      });
    });
    of[r].spread = spread;
  });
}

/// Those of all columns, in each of the four lanes of a row.
template <class Machine>
RELPOS_DEVICE statistics_sums of_all_lanes(Machine& machine, statistics_sums own) {
  for (int other = 1; other < 4; other *= 2) {
    own.join({machine.shuffle_xor(own.spread, other), machine.shuffle_xor(own.count, other),
              machine.shuffle_xor(own.mean, other), machine.shuffle_xor(own.squares, other)});
  }
  return own;
}

/// Writes those of a row whose weights, of which the sum is `sum`, are probabilities when they are multiplied by `factor`.
RELPOS_DEVICE void write_statistics(const device_statistics& to, const statistics_sums& of,
                                    float sum, float factor, index_t batch, index_t head,
                                    index_t row) {
  const auto write = [&](const view<float, 3>& where, float value) {
    if (where.data != nullptr) where(batch, head, row) = value;
  };
  const auto not_negative = [](float x) { return x < 0.0f ? 0.0f : x; };  // rounding; NaN stays
  const bool empty = sum == 0.0f || factor == 0.0f;
  write(to.max_probability, empty ? 0.0f : factor);
  // - sum of p ln p, where log2 p = s - maximum + log2 factor.
  const float entropy = -factor * ln2 * (sum * std::log2(factor) + of.spread);
  write(to.entropy, empty ? 0.0f : not_negative(entropy));
  const float square = of.count == 0.0f ? 0.0f : of.squares / of.count;
  write(to.logit_count, of.count);
  write(to.logit_mean, of.mean * ln2);
  write(to.logit_variance, not_negative(square) * (ln2 * ln2));
}

}  // namespace relpos::inline RELPOS_ABI
