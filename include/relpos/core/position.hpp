#pragma once
// Positions, and ranges of them. Rows are counted from 0 within a call; positions are absolute in
// the sequence. Encodings and masks use positions, so that calls over a cache, a chunk or a shard
// return the same as one call over the whole sequence.

#include <limits>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup own_policies
/// @{

/// The offsets of a sequence: position = row + offset.
struct positions {
  index_t query_offset = 0;  ///< of the first query
  index_t key_offset = 0;    ///< of the first key
};

/// @}

/// Offsets beyond this are refused, so that no difference of positions can overflow.
inline constexpr index_t max_offset = index_t{1} << 60;

/// @addtogroup own_policies
/// @{

/// Half-open range [first, last) of key positions; empty when last <= first.
///
/// @include user_range_mask.cpp
struct key_range {
  index_t first = 0;  ///< the first key
  index_t last = 0;   ///< behind the last key

  /// All positions.
  static constexpr key_range everything() {
    return {std::numeric_limits<index_t>::min(), std::numeric_limits<index_t>::max()};
  }
  /// Whether the position is in the range.
  constexpr bool contains(index_t position) const { return first <= position && position < last; }
  /// Whether both ends are equal.
  friend constexpr bool operator==(const key_range&, const key_range&) = default;
};

/// The keys that are in both ranges.
constexpr key_range intersect(key_range a, key_range b) {
  return {a.first > b.first ? a.first : b.first, a.last < b.last ? a.last : b.last};
}

/// Closed range [first, last] of distances k_pos - q_pos; empty when last < first.
struct distance_range {
  index_t first = 0;  ///< the first distance
  index_t last = -1;  ///< the last distance

  /// Whether there is no distance in it.
  constexpr bool empty() const { return last < first; }
  /// The number of distances.
  constexpr index_t size() const { return empty() ? 0 : last - first + 1; }
};

/// @}

/// The smallest range that holds both.
constexpr distance_range hull(distance_range a, distance_range b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {a.first < b.first ? a.first : b.first, a.last > b.last ? a.last : b.last};
}

/// Wider than any difference of positions, but its size still fits in index_t.
inline constexpr distance_range unlimited_distances{-(max_offset << 2) + 1, (max_offset << 2) - 1};

/// @addtogroup own_policies
/// @{

// A tile is a block of query rows and a block of keys. A mask's class of a whole tile decides
// whether the tile is computed at all, and whether its scores are masked one by one.

/// How a mask shows a tile.
enum class tile_class {
  skip,     ///< no query sees any key
  partial,  ///< any other; the mask is evaluated for each score
  full      ///< every query sees every key
};

/// A block of queries and keys: half-open ranges of absolute positions.
struct tile {
  index_t first_query = 0;  ///< the first query
  index_t last_query = 0;   ///< behind the last query
  index_t first_key = 0;    ///< the first key
  index_t last_key = 0;     ///< behind the last key
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
