#pragma once
// What masks do to scores. `Real` is a score or a vector of them, `Integer` as many row numbers.

#include <limits>

#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// A score that is to have no weight.
inline constexpr float hidden_score = -std::numeric_limits<float>::infinity();

/// Whether range masks, which leave keys [first, last), show this one.
template <class Integer>
RELPOS_INLINE constexpr auto range_shows(Integer key, Integer first, Integer last) {
  return (first <= key) & (key < last);
}

/// Replaced, never added to: what is hidden may be NaN.
template <class Seen, class Real>
RELPOS_INLINE constexpr Real hidden_unless(Seen seen, Real score) {
  return select(seen, score, Real(hidden_score));
}

}  // namespace relpos::inline RELPOS_ABI
