#pragma once

#include <algorithm>
#include <limits>
#include <optional>

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/selected_rows.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/cpu/lowered_head.hpp"

namespace relpos::inline RELPOS_ABI {

/// The query rows of one work item of decode, and the keys that they see. If queries select keys,
/// all rows belong to one query, and the keys are places of its list.
struct decode_query_rows {
  static constexpr index_t most_rows = decode_geometry::rows;

  index_t count = 0;
  index_t head[most_rows];
  index_t row[most_rows];
  key_range visible[most_rows];
  key_range seen;  // by any of them
  std::optional<selected_rows> selected;
  float maximum[most_rows];
  index_t key_block = not_rotated;  // the block that they are rotated to

  /// Block `block` of the rows that share a key head.
  template <class Isa>
  static decode_query_rows of(const lowered_head<Isa>& head, const decode_geometry& geometry,
                              index_t block) {
    const attention_shape& shape = head.shape;
    decode_query_rows result;
    if (geometry.blocks_of_query > 0) {
      const index_t query = block / geometry.blocks_of_query;
      const index_t first_head = block % geometry.blocks_of_query * most_rows;
      result.count = std::min(geometry.group - first_head, most_rows);
      for (index_t i = 0; i < result.count; ++i) {
        result.head[i] = head.key_head * geometry.group + first_head + i;
        result.row[i] = query;
      }
      result.selected = head.selected(query);
    } else {
      const index_t all = geometry.group * shape.query_length;
      result.count = std::min(all - block * most_rows, most_rows);
      for (index_t i = 0; i < result.count; ++i) {
        const index_t group_row = block * most_rows + i;
        result.head[i] = head.key_head * geometry.group + group_row / shape.query_length;
        result.row[i] = group_row % shape.query_length;
      }
    }
    result.for_each_head([&](index_t i, index_t rows_of_head) {
      head.find_visible(result.head[i], result.row[i], rows_of_head, result.visible + i);
    });
    if (result.selected) {
      for (index_t i = 0; i < result.count; ++i) {
        result.visible[i] = result.selected->places(result.visible[i]);
      }
    }
    result.seen = {std::numeric_limits<index_t>::max(), 0};
    for (index_t i = 0; i < result.count; ++i) {
      const key_range& visible = result.visible[i];
      if (visible.first == visible.last) continue;
      result.seen = {std::min(result.seen.first, visible.first),
                     std::max(result.seen.last, visible.last)};
    }
    return result;
  }

  /// Calls use(i, count) for the rows of each head: `count` from the i-th on.
  template <class Use>
  void for_each_head(const Use& use) const {
    for (index_t i = 0; i < count;) {
      index_t last = i + 1;
      while (last < count && head[last] == head[i]) ++last;
      use(i, last - i);
      i = last;
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
