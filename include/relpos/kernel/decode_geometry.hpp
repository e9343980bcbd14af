#pragma once
// How a sequence with few queries is divided. Keys are split at multiples of `chunk_keys` in absolute position, and the
// states of the chunks merged in their order: the bits of a row depend neither on the number of threads nor on what else
// is in the batch.

#include <algorithm>

#include "relpos/core/index.hpp"
#include "relpos/core/shape.hpp"

namespace relpos::inline RELPOS_ABI {

struct decode_geometry {
  /// Query rows that share one pass over keys and values: those of all heads of a group, for each query.
  static constexpr index rows = 16;
  static constexpr index tile_keys = 128;
  static constexpr index chunk_tiles = 8;
  static constexpr index chunk_keys = chunk_tiles * tile_keys;
  /// Of a tile, that stay in the first cache for all rows.
  static constexpr index block_keys = 32;
  /// Tiles whose rows are known at the same time: the one whose values are added, the next, whose keys are scored, and
  /// the one after it, which is asked for.
  static constexpr index known_tiles = 4;

  index group = 0;  // query heads of a key head
  index row_blocks = 0;
  index first_chunk = 0;
  index chunks = 0;

  decode_geometry(const attention_shape& sequence, index key_offset) {
    if (sequence.key_heads == 0 || sequence.query_length == 0) return;
    group = sequence.query_heads / sequence.key_heads;
    row_blocks = ceil_div(group * sequence.query_length, rows);
    first_chunk = floor_div(key_offset, chunk_keys);
    const index last_row = std::max<index>(sequence.key_length - 1, 0);
    chunks = floor_div(key_offset + last_row, chunk_keys) - first_chunk + 1;
  }

  /// Items of one block of rows, of so many chunks each.
  index items_of_block(index chunks_of_item) const { return ceil_div(chunks, chunks_of_item); }

  static constexpr index chunk_capacity(index key_length) { return key_length / chunk_keys + 2; }
};

}  // namespace relpos::inline RELPOS_ABI
