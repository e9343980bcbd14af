#pragma once

#include <algorithm>

#include "relpos/contract/sink_window.hpp"
#include "relpos/core/index_list.hpp"

namespace relpos::inline RELPOS_ABI {

/// The mask that a ring adds to a call: it hides evicted rows, and rows between the sinks and the window.
struct ring_mask {
  const index_t* oldest;  // per sequence, the first row behind the sinks that is there
  index_t sinks;
  index_t window;  // 0: all that is there
  index_t offset;
  index_list offsets;

  constexpr sink_window bind(index_t sequence, index_t) const {
    const index_t first = offsets.empty() ? offset : offsets[sequence];
    return {sinks > 0, first + sinks, first + std::max(oldest[sequence], sinks), window};
  }
};

}  // namespace relpos::inline RELPOS_ABI
