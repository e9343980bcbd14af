#pragma once
// A tile is a block of query rows against a block of keys. What a mask says about a whole tile
// decides whether it is computed at all, and whether its scores need masking one by one.

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

enum class tile_class {
  skip,     // no query sees any key
  partial,  // anything; each score is asked for
  full      // every query sees every key
};

/// Half-open ranges of absolute positions.
struct tile {
  index_t first_query = 0;
  index_t last_query = 0;
  index_t first_key = 0;
  index_t last_key = 0;
};

}  // namespace relpos::inline RELPOS_ABI
