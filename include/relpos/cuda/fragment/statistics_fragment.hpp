#pragma once
// The statistics of a block's rows. Each lane sums the statistics of its two rows over its own
// columns, in shared memory, where they take no registers of calls that do not ask for them. The
// lanes' sums are joined when a row is done. stage/statistics.hpp has the formulas within a tile,
// stage/merge_statistics.hpp the formulas that join two parts. Logits are exponents of base 2.

#include <cmath>

#include "relpos/call/scale.hpp"
#include "relpos/core/unroll.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cuda/fragment/softmax_fragment.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/stage/statistics.hpp"

namespace relpos::inline RELPOS_ABI {

/// The sums of one row over some of its keys.
struct statistics_sums {
  float spread = 0.0f;   // sum of weight (s - maximum)
  float count = 0.0f;    // of logits
  float mean = 0.0f;     // of these logits
  float squares = 0.0f;  // sum of (s - mean)^2

  /// Adds the sums over other keys of the same row.
  RELPOS_DEVICE void join(const statistics_sums& other) {
    const float total = count + other.count;
    const float part = total == 0.0f ? 0.0f : other.count / total;
    const float difference = other.mean - mean;
    spread += other.spread;
    squares += other.squares + difference * difference * count * part;
    mean = count == 0.0f ? other.mean : mean + difference * part;
    count = total;
  }
};

/// Adds the scores of a lane's two rows in one tile, before they become weights.
template <int Tiles>
RELPOS_DEVICE void add_moments(const score_fragment<Tiles>& scores, statistics_sums (&sums)[2]) {
  unroll<2>([&](auto r) RELPOS_LAMBDA {
    const auto for_each = [&](const auto& use) RELPOS_LAMBDA {
      unroll<Tiles>([&](auto t) RELPOS_LAMBDA {
        unroll<2>([&](auto i) RELPOS_LAMBDA { use(scores.tiles[t][2 * r + i]); });
      });
    };
    float first = hidden_score;
    for_each([&](float score)
                 RELPOS_LAMBDA { first = select(first == hidden_score, score, first); });
    if (first == hidden_score) return;
    logit_moments<float> moments(sums[r].count, sums[r].mean, sums[r].squares);
    moments.begin_tile(first);
    for_each([&](float score) RELPOS_LAMBDA { moments.add(score); });
    moments.end_tile();
    sums[r].count = moments.count;
    sums[r].mean = moments.mean;
    sums[r].squares = moments.squares;
  });
}

/// Adds the weights of these scores. Weights are relative to the maximum of `current`, the spread
/// so far to the maximum of `previous`.
template <int Tiles>
RELPOS_DEVICE void add_spread_of_weights(const score_fragment<Tiles>& weights,
                                         const softmax_fragment& previous,
                                         const softmax_fragment& current, const float (&rescale)[2],
                                         statistics_sums (&sums)[2]) {
  unroll<2>([&](auto r) RELPOS_LAMBDA {
    float spread = raised_spread(sums[r].spread, previous.maximum[r], current.maximum[r],
                                 previous.sum[r], rescale[r]);
    unroll<Tiles>([&](auto t) RELPOS_LAMBDA {
      unroll<2>([&](auto i) RELPOS_LAMBDA {
        const float weight = weights.tiles[t][2 * r + i];
        if (weight != 0.0f) spread += weight * std::log2(weight);
      });
    });
    sums[r].spread = spread;
  });
}

/// The sums over all columns, in each of the four lanes of a row.
template <class Arch>
RELPOS_DEVICE statistics_sums of_all_lanes(Arch& arch, statistics_sums sums) {
  for (int other = 1; other < 4; other *= 2) {
    sums.join({arch.shuffle_xor(sums.spread, other), arch.shuffle_xor(sums.count, other),
               arch.shuffle_xor(sums.mean, other), arch.shuffle_xor(sums.squares, other)});
  }
  return sums;
}

/// Writes the statistics of a row. Its weights sum to `sum`; weight * factor is a probability.
RELPOS_DEVICE void write_statistics(const device_statistics& out, const statistics_sums& sums,
                                    float sum, float factor, index_t batch, index_t head,
                                    index_t row) {
  const auto write = [&](const view<float, 3>& statistic, float value) {
    if (statistic.data != nullptr) statistic(batch, head, row) = value;
  };
  const logit_moments<float> moments(sums.count, sums.mean, sums.squares);
  const finished_statistics finished = finish_statistics(sums.spread, moments, sum, factor);
  write(out.max_probability, finished.max_probability);
  write(out.entropy, finished.entropy);
  write(out.logit_count, finished.logit_count);
  write(out.logit_mean, finished.logit_mean);
  write(out.logit_variance, finished.logit_variance);
}

}  // namespace relpos::inline RELPOS_ABI
