#pragma once

#include <limits>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// A score that is to have no weight.
inline constexpr float hidden_score = -std::numeric_limits<float>::infinity();

/// Scores of 16 rows and 8 `Tiles` keys: those of a lane.
template <int Tiles>
struct score_fragment {
  float at[Tiles][4];
};

}  // namespace relpos::inline RELPOS_ABI
