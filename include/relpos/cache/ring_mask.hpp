#pragma once

#include <algorithm>

#include "relpos/core/index_list.hpp"
#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// The mask that a ring adds to a call: it hides evicted rows, and rows between the sinks and the window.
struct ring_mask {
  const index_t* oldest;  // per sequence, the first row behind the sinks that is there
  index_t sinks;
  index_t window;  // 0: all that is there
  index_t offset;
  index_list offsets;

  /// In positions.
  struct of_sequence {
    bool has_sinks;
    index_t sinks_end;
    index_t oldest;
    index_t window;

    constexpr index_t window_start(index_t q_pos) const {
      return window > 0 ? q_pos - window + 1 : key_range::everything().first;
    }
    /// Without sinks a query sees one range, and no element needs to be asked for.
    constexpr key_range visible_keys(index_t q_pos) const {
      return {has_sinks ? key_range::everything().first : first_behind_sinks(q_pos),
              key_range::everything().last};
    }
    constexpr bool keep(index_t q_pos, index_t k_pos) const {
      return k_pos < sinks_end || first_behind_sinks(q_pos) <= k_pos;
    }
    constexpr tile_class classify(const tile& of) const {
      if (!has_sinks || of.last_key <= sinks_end) return tile_class::full;
      // The window of the last query begins last.
      if (first_behind_sinks(of.last_query - 1) <= of.first_key) return tile_class::full;
      const bool hides_all =
          sinks_end <= of.first_key && of.last_key <= first_behind_sinks(of.first_query);
      return hides_all ? tile_class::skip : tile_class::partial;
    }

    constexpr index_t first_behind_sinks(index_t q_pos) const {
      return std::max(oldest, window_start(q_pos));
    }
  };
  constexpr of_sequence bind(index_t sequence, index_t) const {
    const index_t first = offsets.empty() ? offset : offsets[sequence];
    return {sinks > 0, first + sinks, first + std::max(oldest[sequence], sinks), window};
  }
};

}  // namespace relpos::inline RELPOS_ABI
