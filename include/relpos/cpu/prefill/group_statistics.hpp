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
    for (float** each : result.all()) *each = memory.take<float>(width);
    return result;
  }

  void start(index_t width) {
    for (float** each : all()) std::fill(*each, *each + width, 0.0f);
  }

 private:
  std::array<float**, 4> all() { return {&spread, &count, &mean, &squares}; }
};

/// One vector of a group's statistics, in registers during one tile.
template <class Isa>
class statistics_lanes {
 public:
  using real = float_pack<Isa>;

  /// The maximum of the lanes rises from `before` to `maximum`, and `rescale` multiplies the
  /// weights so far, whose sum is `weight_sum`. `score` is the first score of the tile.
  RELPOS_INLINE statistics_lanes(const group_statistics& of, index_t at, real before, real maximum,
                                 real rescale, real weight_sum, real score)
      : of_(of),
        at_(at),
        spread_(raised_spread(real::load(of.spread + at), before, maximum, weight_sum, rescale)),
        moments_(real::load(of.count + at), real::load(of.mean + at), real::load(of.squares + at)) {
    moments_.begin_tile(select(score == real(hidden_score), maximum, score));
  }

  RELPOS_INLINE void add(real score, real maximum, real weight) {
    spread_ = add_spread(spread_, score, maximum, weight);
    moments_.add(score);
  }

  RELPOS_INLINE void store() {
    moments_.end_tile();
    spread_.store(of_.spread + at_);
    moments_.count.store(of_.count + at_);
    moments_.mean.store(of_.mean + at_);
    moments_.squares.store(of_.squares + at_);
  }

 private:
  const group_statistics& of_;
  index_t at_;
  real spread_;
  logit_moments<real> moments_;
};

}  // namespace relpos::inline RELPOS_ABI
