#pragma once

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// Scores of 16 rows and 8 `Tiles` keys: those of a lane.
template <int Tiles>
struct score_fragment {
  float at[Tiles][4];
};

}  // namespace relpos::inline RELPOS_ABI
