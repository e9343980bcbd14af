#pragma once
// One tile of keys and values as the products read it: a pointer per row, to the caller's memory if
// the rows are contiguous floats, otherwise to converted copies. The query groups of a work item
// share the tile.

#include <algorithm>

#include "relpos/call/kv_source.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/rows/prefetch_row.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
struct key_tile {
  static constexpr index_t capacity = geometry<Isa>::tile_keys;

  index_t first_row = 0;
  index_t count = 0;
  const float* keys[capacity] = {};
  const float* values[capacity] = {};

  // Rows of the tile before this one, which is probably the next, to be fetched into the cache;
  // null if they are copied.
  index_t next_count = 0;
  const float* next_keys[capacity] = {};
  const float* next_values[capacity] = {};

  /// Finds the rows of `range` and, if they are in place, of `next`. The buffers hold `capacity`
  /// rows each, and are touched only for rows that cannot be read in place.
  template <row_source Keys, row_source Values>
  void find(const Keys& key_rows, const Values& value_rows, const key_range& range,
            const key_range& next, float* key_buffer, index_t head_dim, float* value_buffer,
            index_t value_dim) {
    first_row = range.first;
    count = range.last - range.first;
    for (index_t i = 0; i < count; ++i) {
      keys[i] = read_row(key_rows, first_row + i, key_buffer + i * head_dim);
      values[i] = read_row(value_rows, first_row + i, value_buffer + i * value_dim);
    }
    next_count = next.last - next.first;
    for (index_t i = 0; i < next_count; ++i) {
      next_keys[i] = key_rows.in_place(next.first + i);
      next_values[i] = value_rows.in_place(next.first + i);
    }
  }

  /// Prefetches rows [first, first + rows) of the next tile. Called between products: prefetching
  /// all rows at once would delay the code after it.
  RELPOS_INLINE void fetch_next(index_t first, index_t rows, index_t head_dim,
                                index_t value_dim) const {
    const index_t last = std::min(first + rows, next_count);
    for (index_t i = first; i < last; ++i) {
      prefetch_row(next_keys[i], head_dim);
      prefetch_row(next_values[i], value_dim);
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
