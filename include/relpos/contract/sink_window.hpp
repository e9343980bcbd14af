#pragma once
// What a query sees of a ring: attention sinks (Xiao et al., arXiv 2309.17453), and a window of rows that are still there.
//
//   k_pos < sinks_end  or  max(oldest, q_pos - window + 1) <= k_pos

#include <algorithm>

#include "relpos/core/position.hpp"
#include "relpos/core/tile.hpp"

namespace relpos::inline RELPOS_ABI {

/// The bounds of one sequence. All are positions but `window`, which is a number of rows.
struct sink_window {
  bool has_sinks;
  index_t sinks_end;
  index_t oldest;  // behind the sinks
  index_t window;  // 0: all from `oldest` on

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

}  // namespace relpos::inline RELPOS_ABI
