#pragma once
// One tile of keys and values as the products read it. The query groups of a work item share the
// tile.
//
// Floats: a pointer per row, to the caller's memory if the rows are contiguous floats, otherwise to
// converted copies. Pairs of bfloat16 numbers: a pointer per key row, likewise, and a pointer per
// pair of value rows, which are always copied. The keys of a pair are at positions 2 i and 2 i + 1,
// however a sequence is cut into calls; the first and the last pair may lack one of them.
//
// For a matrix unit: panels of 32 keys, which begin at a multiple of 32 in absolute position and
// may lack keys likewise. Key rows are copied one behind the other, and values to panels
// [channel][pair of keys].

#include <algorithm>

#include "relpos/call/kv_source.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/operand.hpp"
#include "relpos/rows/expected_rows.hpp"
#include "relpos/rows/rounded_rows.hpp"

namespace relpos::inline RELPOS_ABI {

/// Memory for the rows of a tile that cannot be read in place.
struct tile_buffers {
  float* keys = nullptr;        // [tile_keys][head_dim], or of pairs [tile_keys][padded_pairs]
  float* values = nullptr;      // [tile_keys][value_dim], or of pairs [panel][padded_values][16]
  float* row = nullptr;         // [head_dim], or value_dim if larger with pairs: one converted row
  bfloat16* rounded = nullptr;  // [keys of a pair or a panel][value_dim]
};

/// The places of a tile, one for each number of its operands, and the rows that are fetched while
/// it is computed.
template <class Isa>
struct tile_places {
  static constexpr index_t capacity = geometry<Isa>::tile_keys;

  key_range rows;
  index_t first_row = 0;  // the row of place 0: rows.first, or up to 31 rows before it
  index_t count = 0;      // of places

  // Rows that are probably read after this tile: of the tile before it, or of the next work item.
  expected_rows<capacity> next_keys;
  expected_rows<capacity> next_values;
  expected_rows<geometry<Isa>::block_rows> next_queries;

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

template <class Isa, class Operand>
struct key_tile : tile_places<Isa> {
  /// The places that belong together: of an operand, or of a panel.
  static constexpr index_t places =
      in_matrices<Isa, Operand> ? summed_numbers<Isa> : numbers_of<Operand>;
  // A tile begins at a multiple of its size, so its places fit.
  static constexpr index_t capacity = tile_places<Isa>::capacity;
  static_assert(capacity % places == 0);

  const Operand* keys[capacity];             // of each place
  const Operand* values[capacity / places];  // of each operand or panel

  /// The rows of places [first, first + number).
  RELPOS_INLINE key_range rows_of(index_t first, index_t number) const {
    const key_range found{this->first_row + first, this->first_row + first + number};
    if constexpr (places == 1) return found;
    return intersect(this->rows, found);
  }
  /// Whether some of the first or the last places have no row. One number is an operand by itself.
  RELPOS_INLINE bool has_gaps() const {
    return places > 1 && this->count != this->rows.last - this->rows.first;
  }

  /// The operands of one entry of `values`.
  static constexpr index_t operands_of_values(index_t channels) {
    return in_matrices<Isa, Operand> ? padded_values<Isa>(channels) * (places / 2) : channels;
  }

  /// Finds the rows of `range`. `key_offset` is the position of row 0.
  template <stored_rows Keys, stored_rows Values>
  void find(const Keys& key_rows, const Values& value_rows, const key_range& range,
            index_t key_offset, const attention_shape& shape, const tile_buffers& buffers) {
    this->rows = range;
    this->first_row = floor_div(range.first + key_offset, places) * places - key_offset;
    this->count = ceil_div(range.last - this->first_row, places) * places;
    if constexpr (is_pair<Operand>) {
      for (index_t i = 0; i < this->count; ++i) {
        // A place without a row reads its neighbour's key.
        const index_t row = std::clamp(this->first_row + i, range.first, range.last - 1);
        keys[i] = pairs_of_key(key_rows, row, i, shape.head_dim, buffers);
      }
      for (index_t i = 0; i < this->count / places; ++i) {
        values[i] = pairs_of_values(value_rows, i, shape.value_dim, buffers);
      }
    } else {
      for (index_t i = 0; i < this->count; ++i) {
        keys[i] = read_row(key_rows, range.first + i, buffers.keys + i * shape.head_dim);
        values[i] = read_row(value_rows, range.first + i, buffers.values + i * shape.value_dim);
      }
    }
  }

 private:
  /// A key as pairs of neighbouring channels, padded with zeros.
  template <stored_rows Keys>
  static const bfloat16_pair* pairs_of_key(const Keys& key_rows, index_t row, index_t place,
                                           index_t channels, const tile_buffers& buffers) {
    const index_t padded = 2 * padded_pairs<Isa>(channels);
    bfloat16* const copy = reinterpret_cast<bfloat16*>(buffers.keys) + place * padded;
    const bfloat16* found = read_rounded_row<Isa>(key_rows, row, channels, buffers.row, copy);
    if (in_matrices<Isa, Operand> || channels != padded) {
      if (found != copy) std::copy(found, found + channels, copy);
      std::fill(copy + channels, copy + padded, bfloat16());
      found = copy;
    }
    return reinterpret_cast<const bfloat16_pair*>(found);
  }

  /// One entry of the values, in pairs.
  template <stored_rows Values>
  const bfloat16_pair* pairs_of_values(const Values& value_rows, index_t entry, index_t channels,
                                       const tile_buffers& buffers) const {
    const bfloat16* found[places] = {};
    for (index_t i = 0; i < places; ++i) {
      const index_t row = this->first_row + entry * places + i;
      if (row < this->rows.first || row >= this->rows.last) continue;
      found[i] = read_rounded_row<Isa>(value_rows, row, channels, buffers.row,
                                       buffers.rounded + i * channels);
    }
    auto* const out =
        reinterpret_cast<bfloat16_pair*>(buffers.values) + entry * operands_of_values(channels);
    if constexpr (in_matrices<Isa, Operand>) {
      join_columns<Isa>(found, channels, out);
    } else {
      join_rows<Isa>(found[0], found[1], channels, out);
    }
    return out;
  }
};

}  // namespace relpos::inline RELPOS_ABI
