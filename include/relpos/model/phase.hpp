#pragma once
// Angles whose differences depend only on the difference of two positions, at any position. A
// frequency is a fraction of a turn per position, rounded once to float64 and held as a multiple of
// 2^-64 turns. Its product with a position is computed in integers: it wraps around where the angle
// does, and is not rounded. The angle over a distance n is off by less than n 2^-53 turns: 7e-10
// radians at a million. (position * radians in float32 is off by 0.06 there.)

#include <cmath>
#include <cstdint>
#include <numbers>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

class phase {
 public:
  /// `radians` per position, any finite number.
  explicit phase(double radians) {
    const double turns = radians / (2.0 * std::numbers::pi);
    const double part = turns - std::floor(turns);  // 53 significant bits
    turns_ = part < 1.0 ? static_cast<std::uint64_t>(part * 0x1p64) : 0;
  }

  /// Radians in [-pi, pi).
  double angle(index_t position) const {
    const auto wrapped = static_cast<std::int64_t>(static_cast<std::uint64_t>(position) * turns_);
    return static_cast<double>(wrapped) * (2.0 * std::numbers::pi * 0x1p-64);
  }

 private:
  std::uint64_t turns_;  // per position, in units of 2^-64
};

}  // namespace relpos::inline RELPOS_ABI
