#pragma once
// The number of tables of a bias, or of rotors between blocks, that a call has. For each piece of
// rows (call/resident_rows.hpp) all sequences share one table if it covers at most twice the
// distances of the longest sequence; otherwise each sequence has its own table.

#include <algorithm>
#include <array>

#include "relpos/call/call_sequences.hpp"
#include "relpos/call/resident_rows.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/core/position.hpp"

namespace relpos::inline RELPOS_ABI {

class table_sets {
 public:
  static constexpr index_t pieces = resident_rows::pieces;

  table_sets(const call_sequences& call, bool has_implicit_positions) {
    for (index_t piece = 0; piece < pieces; ++piece) {
      sets_of_piece& sets = pieces_[static_cast<std::size_t>(piece)];
      const index_t rows = call.longest_piece(piece);
      if (piece > 0 && rows == 0) continue;
      sets.count = 1;
      sets.distances = has_implicit_positions
                           ? std::max<index_t>(call.shape.query_length + rows - 1, 1)
                           : explicit_distances(call.shape);
      if (has_implicit_positions) {
        sets.shared = call.distances(piece);
        if (sets.shared.size() > 2 * sets.distances) {
          sets.count = call.shape.batch;
        } else {
          sets.distances = std::max<index_t>(sets.shared.size(), 1);
        }
      }
    }
  }

  /// The number of sets of all pieces. The sets of piece 0 come first.
  index_t count() const { return count_before(pieces); }
  index_t count_of(index_t piece) const { return at(piece).count; }
  /// The number of distances for which a set of the piece has room.
  index_t distances_of(index_t piece) const { return at(piece).distances; }

  struct place {
    index_t piece = 0;
    index_t number = 0;  // in the piece: the sequence, or 0 if all share the set
    bool is_shared = true;
  };
  place find(index_t set) const {
    index_t piece = 0;
    for (; set >= at(piece).count; ++piece) set -= at(piece).count;
    return {piece, set, at(piece).count == 1};
  }
  place of(index_t sequence, index_t piece) const {
    const bool is_shared = at(piece).count == 1;
    return {piece, is_shared ? 0 : sequence, is_shared};
  }
  /// The distances between all queries and keys of a set.
  distance_range distances(const call_sequences& call, const place& set) const {
    return set.is_shared ? at(set.piece).shared : call.distances_of(set.number, set.piece);
  }

 private:
  struct sets_of_piece {
    index_t count = 0;
    index_t distances = 0;
    distance_range shared;
  };
  const sets_of_piece& at(index_t piece) const { return pieces_[static_cast<std::size_t>(piece)]; }
  index_t count_before(index_t piece) const {
    index_t sets = 0;
    for (index_t i = 0; i < piece; ++i) sets += at(i).count;
    return sets;
  }

  std::array<sets_of_piece, static_cast<std::size_t>(pieces)> pieces_{};
};

}  // namespace relpos::inline RELPOS_ABI
