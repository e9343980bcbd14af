#pragma once
// The running statistics of one query group, one query per lane. Logits s are in units of the exponent, base 2.

#include <algorithm>
#include <array>
#include <limits>

#include "relpos/core/scratch.hpp"
#include "relpos/kernel/geometry.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Pointers into a slot's scratch, [width] each.
struct group_statistics {
  float* spread = nullptr;   // sum of weight (s - maximum)
  float* count = nullptr;    // of logits
  float* mean = nullptr;     // of them
  float* squares = nullptr;  // sum of (s - mean)^2

  static group_statistics take(scratch_divider& memory, index_t width) {
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

/// One vector of a group's statistics in registers, while it goes through a tile. Moments are summed relative to
/// the mean so far, and that of a row's first tile relative to one of its logits: sums of squares about zero
/// would lose a small variance.
template <class Isa>
class statistics_lanes {
 public:
  using real = float_pack<Isa>;

  /// The maximum of the lanes goes from `before` to `maximum`, and weights so far, whose sum is `weight_sum`,
  /// are multiplied by `rescale`. `score` is the first of the tile.
  RELPOS_INLINE statistics_lanes(const group_statistics& of, index_t at, real before, real maximum,
                                 real rescale, real weight_sum, real score)
      : of_(of), at_(at), count_(real::load(of.count + at)) {
    const real moved = rescale * fma(before - maximum, weight_sum, real::load(of.spread + at));
    spread_ = select(rescale == real(0.0f), real(0.0f), moved);
    const real first = select(is_hidden(score), maximum, score);
    mean_ = select(count_ == real(0.0f), first, real::load(of.mean + at));
    sum_ = real(0.0f);
    squares_ = real::load(of.squares + at);
  }

  RELPOS_INLINE void add(real score, real maximum, real weight) {
    // Beyond the cut of exp2 the weight is 0 and the difference does not matter, unless it is infinite.
    spread_ = fma(weight, max(score - maximum, real(-256.0f)), spread_);
    const auto hidden = is_hidden(score);
    const real difference = select(hidden, real(0.0f), score - mean_);
    count_ = count_ + select(hidden, real(0.0f), real(1.0f));
    sum_ = sum_ + difference;
    squares_ = fma(difference, difference, squares_);
  }

  RELPOS_INLINE void store() const {
    const real step = sum_ / max(count_, real(1.0f));
    spread_.store(of_.spread + at_);
    count_.store(of_.count + at_);
    (mean_ + step).store(of_.mean + at_);
    fma(-step, sum_, squares_).store(of_.squares + at_);
  }

 private:
  /// NaN is a logit: the row is to be NaN.
  static RELPOS_INLINE auto is_hidden(real score) {
    return score == real(-std::numeric_limits<float>::infinity());
  }

  const group_statistics& of_;
  index_t at_;
  real count_;
  real spread_;
  real mean_;
  real sum_;
  real squares_;
};

}  // namespace relpos::inline RELPOS_ABI
