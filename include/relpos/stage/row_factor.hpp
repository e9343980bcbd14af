#pragma once
// The last stage before the mask: what a length law multiplies the logits of a row by, bias included.

#include "relpos/stage/mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// A key that a bias hides stays hidden where the factor is 0 or negative.
template <class Real>
RELPOS_INLINE constexpr Real times_row_factor(Real score, Real factor) {
  const Real hidden(hidden_score);
  return select(score == hidden, hidden, score * factor);
}

}  // namespace relpos::inline RELPOS_ABI
