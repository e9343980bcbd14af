#pragma once
// How a sequence is spread over the ranks of a communicator.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// Whether a range has no position.
constexpr bool is_empty(const key_range& range) { return range.last <= range.first; }
/// The number of positions of a range.
constexpr index_t rows_of(const key_range& range) {
  return is_empty(range) ? 0 : range.last - range.first;
}

/// The smallest range that holds both.
constexpr key_range hull(const key_range& a, const key_range& b) {
  if (is_empty(a)) return b;
  if (is_empty(b)) return a;
  return {std::min(a.first, b.first), std::max(a.last, b.last)};
}

/// @addtogroup mpi
/// @{

/// The positions that each rank has: pieces of the sequence, disjoint over all ranks.
///
/// The rows of a rank's tensors are the rows of its pieces, one piece after another. A rank may
/// have none.
struct sequence_shards {
  std::vector<std::vector<key_range>> pieces;  ///< [rank], each a list of ranges [first, last)

  /// The number of ranks.
  int ranks() const { return static_cast<int>(pieces.size()); }

  /// The pieces of one rank.
  const std::vector<key_range>& of(int rank) const {
    return pieces[static_cast<std::size_t>(rank)];
  }

  /// The number of rows of one rank.
  index_t rows(int rank) const {
    index_t result = 0;
    for (const key_range& piece : of(rank)) result += rows_of(piece);
    return result;
  }
};

/// The cut before part `i` of `parts` equal parts of `length` rows: lengths differ by at most one.
constexpr index_t part_start(index_t length, index_t parts, index_t i) {
  const index_t longer = length % parts;
  return length / parts * i + (i < longer ? i : longer);
}

/// Rank r has the r-th of equal parts of positions [first, first + length).
inline sequence_shards contiguous_shards(index_t length, int ranks, index_t first = 0) {
  sequence_shards result;
  for (int rank = 0; rank < ranks; ++rank) {
    result.pieces.push_back(
        {{first + part_start(length, ranks, rank), first + part_start(length, ranks, rank + 1)}});
  }
  return result;
}

/// Rank r has parts r and 2 ranks - 1 - r of 2 ranks equal parts.
///
/// Under a causal mask all ranks then compute about the same number of scores.
inline sequence_shards zigzag_shards(index_t length, int ranks, index_t first = 0) {
  const index_t parts = 2 * static_cast<index_t>(ranks);
  const auto part = [&](index_t i) {
    return key_range{first + part_start(length, parts, i),
                     first + part_start(length, parts, i + 1)};
  };
  sequence_shards result;
  for (index_t rank = 0; rank < ranks; ++rank) {
    result.pieces.push_back({part(rank), part(parts - 1 - rank)});
  }
  return result;
}

/// @}

/// The row of a rank's tensors with which a piece begins.
inline index_t first_row(const std::vector<key_range>& pieces, std::size_t piece) {
  index_t row = 0;
  for (std::size_t i = 0; i < piece; ++i) row += rows_of(pieces[i]);
  return row;
}

/// The range from the first to the last position of all ranks.
inline key_range hull_of(const sequence_shards& shards) {
  key_range all;
  for (const auto& pieces : shards.pieces) {
    for (const key_range& piece : pieces) all = hull(all, piece);
  }
  return all;
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
