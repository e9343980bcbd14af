#pragma once
// One tile of keys and values as the products read it: a pointer per row, to the caller's memory where
// the rows are contiguous floats and to converted copies otherwise. The query groups of a work item
// share it.

#include "relpos/core/row_source.hpp"
#include "relpos/core/scratch.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/kernel/geometry.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
struct key_tile {
  static constexpr index capacity = geometry<Isa>::tile_keys;

  index first_row = 0;
  index count = 0;
  const float* keys[capacity] = {};
  const float* values[capacity] = {};

  /// Finds rows [first, first + count); `buffers` hold `capacity` rows of each, and are touched only for
  /// rows that cannot be read in place.
  template <row_source Keys, row_source Values>
  void find(const Keys& key_rows, const Values& value_rows, index first, index count_found,
            float* key_buffer, index head_dim, float* value_buffer, index value_dim) {
    first_row = first;
    count = count_found;
    for (index i = 0; i < count; ++i) {
      keys[i] = read_row(key_rows, first + i, key_buffer + i * head_dim);
      values[i] = read_row(value_rows, first + i, value_buffer + i * value_dim);
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
