#pragma once
// One tile of keys and values as the products read it: a pointer per row, to the caller's memory if
// the rows are contiguous floats, otherwise to converted copies. The query groups of a work item
// share the tile.

#include "relpos/call/kv_source.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/rows/expected_rows.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
struct key_tile {
  static constexpr index_t capacity = geometry<Isa>::tile_keys;

  index_t first_row = 0;
  index_t count = 0;
  const float* keys[capacity];
  const float* values[capacity];

  // Rows that are probably read after this tile: of the tile before it, or of the next work item.
  expected_rows<capacity> next_keys;
  expected_rows<capacity> next_values;
  expected_rows<geometry<Isa>::block_rows> next_queries;

  /// Finds the rows of `range`. The buffers hold `capacity` rows each, and are touched only for
  /// rows that cannot be read in place.
  template <row_source Keys, row_source Values>
  void find(const Keys& key_rows, const Values& value_rows, const key_range& range,
            float* key_buffer, index_t head_dim, float* value_buffer, index_t value_dim) {
    first_row = range.first;
    count = range.last - range.first;
    for (index_t i = 0; i < count; ++i) {
      keys[i] = read_row(key_rows, first_row + i, key_buffer + i * head_dim);
      values[i] = read_row(value_rows, first_row + i, value_buffer + i * value_dim);
    }
  }

  void expect_nothing() {
    next_keys.clear();
    next_values.clear();
    next_queries.clear();
  }

  /// The strips of keys that the products take one after the other. The next rows are fetched in
  /// as many steps.
  index_t strips() const { return ceil_div(count, index_t{Isa::tile_rows}); }

  /// Fetches some of the next rows. Called once for each strip that is computed.
  RELPOS_INLINE void fetch_next() {
    next_keys.fetch();
    next_values.fetch();
    next_queries.fetch();
  }
};

}  // namespace relpos::inline RELPOS_ABI
