#pragma once
// The running statistics of one query group, one query per lane. Logits s are in units of the
// exponent, base 2.

#include <algorithm>
#include <array>

#include "relpos/core/workspace.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/stage/statistics.hpp"

namespace relpos::inline RELPOS_ABI {

/// The statistics of a group, as pointers into a worker's workspace, [width] each.
struct group_statistics {
  float* spread = nullptr;   // sum of weight (s - maximum)
  float* count = nullptr;    // of logits
  float* mean = nullptr;     // of logits
  float* squares = nullptr;  // sum of (s - mean)^2

  static group_statistics take(arena& memory, index_t width) {
    group_statistics result;
    for (float** array : result.all()) *array = memory.take<float>(width);
    return result;
  }

  void start(index_t width) {
    for (float** array : all()) std::fill(*array, *array + width, 0.0f);
  }

 private:
  std::array<float**, 4> all() { return {&spread, &count, &mean, &squares}; }
};

/// One vector of a group's statistics, in registers during one tile.
template <class Isa>
class statistics_lanes {
 public:
  using real = float_pack<Isa>;

  /// The maximum of the lanes rises from `old_maximum` to `maximum`, and `rescale` multiplies the
  /// weights so far, whose sum is `weight_sum`. `score` is the first score of the tile.
  RELPOS_INLINE statistics_lanes(const group_statistics& statistics, index_t lane, real old_maximum,
                                 real maximum, real rescale, real weight_sum, real score)
      : statistics_(statistics),
        lane_(lane),
        spread_(raised_spread(real::load(statistics.spread + lane), old_maximum, maximum,
                              weight_sum, rescale)),
        moments_(real::load(statistics.count + lane), real::load(statistics.mean + lane),
                 real::load(statistics.squares + lane)) {
    moments_.begin_tile(select(score == real(hidden_score), maximum, score));
  }

  RELPOS_INLINE void add(real score, real maximum, real weight) {
    spread_ = add_spread(spread_, score, maximum, weight);
    moments_.add(score);
  }

  RELPOS_INLINE void store() {
    moments_.end_tile();
    spread_.store(statistics_.spread + lane_);
    moments_.count.store(statistics_.count + lane_);
    moments_.mean.store(statistics_.mean + lane_);
    moments_.squares.store(statistics_.squares + lane_);
  }

 private:
  const group_statistics& statistics_;
  index_t lane_;
  real spread_;
  logit_moments<real> moments_;
};

}  // namespace relpos::inline RELPOS_ABI
