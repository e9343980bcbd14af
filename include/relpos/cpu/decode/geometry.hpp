#pragma once
// The division of a sequence for decode. Keys are split at multiples of `chunk_keys` in absolute
// position, and the states of the chunks are merged in the order of the chunks. So the bits of a
// row depend neither on the number of threads nor on the rest of the batch.

#include <algorithm>

#include "relpos/call/options.hpp"
#include "relpos/call/resident_rows.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/simd/isa.hpp"

namespace relpos::inline RELPOS_ABI {

struct decode_geometry {
  static constexpr index_t rows = decode_row_limit;
  static constexpr index_t tile_keys = 128;
  static constexpr index_t chunk_tiles = 8;
  static constexpr index_t chunk_keys = chunk_tiles * tile_keys;
  static_assert(tile_keys <= resident_rows::shortest_gap);
  /// Keys of a tile that stay in the L1 cache for all rows.
  static constexpr index_t block_keys = 32;
  /// So far ahead in a run of rows requests are enough to keep the memory busy.
  static constexpr index_t prefetch_bytes = 4096;
  /// The number of tiles whose row addresses are kept at the same time. Three are needed: the tile
  /// whose values are added, the next, whose keys are scored, and the one after it, which is
  /// prefetched. Rounded up to a power of two.
  static constexpr index_t known_tiles = 4;

  index_t group = 0;  // query heads of a key head
  index_t row_blocks = 0;
  index_t blocks_of_query = 0;  // if the rows of a block belong to one query; else 0
  index_t chunks = 0;           // chunks with a row that may be seen

  decode_geometry() = default;
  /// `seen` are the rows that some query may see; rows `evicted` are excluded.
  decode_geometry(const attention_shape& sequence, index_t key_offset, const key_range& seen,
                  const key_range& evicted)
      : key_offset_(key_offset) {
    if (sequence.key_heads == 0 || sequence.query_length == 0) return;
    group = sequence.query_heads / sequence.key_heads;
    row_blocks = ceil_div(group * sequence.query_length, rows);
    if (seen.last <= seen.first) return;
    first_ = floor_div(seen.first + key_offset, chunk_keys);
    const index_t last = floor_div(seen.last - 1 + key_offset, chunk_keys) + 1;
    const key_range whole = intersect(
        {first_, last}, {floor_div(evicted.first + key_offset + chunk_keys - 1, chunk_keys),
                         floor_div(evicted.last + key_offset, chunk_keys)});
    gap_ = {whole.first, std::max(whole.first, whole.last)};
    chunks = last - first_ - (gap_.last - gap_.first);
  }

  /// The division where each query selects up to `selected` keys. Rows are then places of a query's
  /// list, and the rows of a block of queries belong to one query.
  static decode_geometry of_selection(const attention_shape& sequence, index_t selected) {
    decode_geometry result;
    if (sequence.key_heads == 0 || sequence.query_length == 0) return result;
    result.group = sequence.query_heads / sequence.key_heads;
    result.blocks_of_query = ceil_div(result.group, rows);
    result.row_blocks = sequence.query_length * result.blocks_of_query;
    result.chunks = ceil_div(selected, chunk_keys);
    return result;
  }

  /// The first row of a chunk, which may lie before the first row of the sequence.
  index_t row_of(index_t chunk) const {
    const index_t number = first_ + chunk;
    return (number < gap_.first ? number : number + (gap_.last - gap_.first)) * chunk_keys -
           key_offset_;
  }
  /// The chunk of a row that is not evicted.
  index_t chunk_of(index_t row) const {
    const index_t number = floor_div(row + key_offset_, chunk_keys);
    return (number < gap_.last ? number : number - (gap_.last - gap_.first)) - first_;
  }

  /// The number of items of one block of rows, with `chunks_of_item` chunks each.
  index_t items_of_block(index_t chunks_of_item) const { return ceil_div(chunks, chunks_of_item); }

  /// An upper bound on the number of chunks without a selection, for any key offset.
  static constexpr index_t chunk_capacity(const resident_rows& resident) {
    const auto piece_chunks = [&](index_t piece) {
      return resident_rows::size(resident.piece(piece)) / chunk_keys + 2;
    };
    return piece_chunks(0) + (resident.piece(1).last > 0 ? piece_chunks(1) : 0);
  }

 private:
  index_t key_offset_ = 0;
  index_t first_ = 0;  // counted in absolute position
  key_range gap_{};    // chunks of which every row is evicted
};

/// The key rows of a tile of decode: lane i is row first_row + i. Lanes [first, last), whole
/// vectors, are computed. Rows [rows.first, rows.last) exist, and some query sees them.
struct key_lanes {
  index_t first_row = 0;
  index_t first = 0;
  index_t last = 0;
  key_range rows;

  /// The lanes of the rows `range` in the tile that begins at row `tile`.
  template <class Isa>
  static key_lanes of(index_t tile, const key_range& range) {
    if (range.last <= range.first) return {tile, 0, 0, {tile, tile}};
    return {tile, (range.first - tile) / lanes<Isa> * lanes<Isa>,
            ceil_div(range.last - tile, lanes<Isa>) * lanes<Isa>, range};
  }

  constexpr index_t nearest_row(index_t lane) const {
    return std::clamp(first_row + lane, rows.first, rows.last - 1);
  }
};

}  // namespace relpos::inline RELPOS_ABI
