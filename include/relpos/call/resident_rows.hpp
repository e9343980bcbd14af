#pragma once
// The rows of a sequence that a source still has. A ring keeps the first rows, its sinks, and the
// newest rows. The tables, tiles and work items of a call cover only these rows, so that the cost
// of a call depends on the size of the ring, not on the length of the stream.

#include <algorithm>

#include "relpos/core/position.hpp"

namespace relpos::inline RELPOS_ABI {

/// One or two pieces of rows. Two pieces lie at least `shortest_gap` rows apart, so no tile of keys
/// has rows of both. If fewer rows are evicted, one piece covers the gap and the source's mask
/// hides it.
class resident_rows {
 public:
  static constexpr index_t pieces = 2;  // at most
  static constexpr index_t shortest_gap = 128;

  constexpr resident_rows() = default;
  /// Rows [0, length) except the rows `evicted`.
  constexpr resident_rows(index_t length, const key_range& evicted) : recent_{0, length} {
    const key_range lost = intersect(evicted, recent_);
    if (lost.last <= lost.first) return;
    if (lost.first == 0) {
      recent_.first = lost.last;
    } else if (lost.last - lost.first >= shortest_gap) {
      sinks_ = {0, lost.first};
      recent_.first = lost.last;
    }
  }

  /// Piece 0 has the newest rows, piece 1 the rows before the gap; empty if there is one piece.
  constexpr const key_range& piece(index_t i) const { return i == 0 ? recent_ : sinks_; }
  /// The piece of a tile that ends before row `last`.
  constexpr index_t piece_of(index_t last) const { return last <= recent_.first ? 1 : 0; }
  constexpr index_t count() const { return size(recent_) + size(sinks_); }
  static constexpr index_t size(const key_range& rows) {
    return std::max<index_t>(rows.last - rows.first, 0);
  }

  /// The first row of the first tile from `tile` on, in steps of `step` rows, that does not lie in
  /// the gap.
  constexpr index_t beyond_gap(index_t tile, index_t step) const {
    const bool lies_in_gap = sinks_.last <= tile && tile + step <= recent_.first;
    return lies_in_gap ? tile + (recent_.first - tile) / step * step : tile;
  }

 private:
  key_range recent_{};
  key_range sinks_{};
};

}  // namespace relpos::inline RELPOS_ABI
