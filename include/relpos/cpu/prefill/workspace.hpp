#pragma once

#include <algorithm>
#include <array>

#include "relpos/core/workspace.hpp"
#include "relpos/cpu/prefill/key_tile.hpp"
#include "relpos/cpu/prefill/query_group.hpp"

namespace relpos::inline RELPOS_ABI {

/// The memory of one work item of prefill.
template <class Isa>
struct prefill_workspace {
  std::array<query_group<Isa>, static_cast<std::size_t>(geometry<Isa>::groups)> groups;
  float* weights;        // [tile_keys][group_rows]
  float* stored_row;     // a converted row before its rotation
  float* rotors_of_row;  // rotors of a row, for explicit positions
  tile_buffers tile;     // before the first tile, `tile.keys` holds converted queries
  float* coefficients;   // of mixed biases, [groups][terms of all policies][group_rows]

  /// `rotates`: there is a rotation. `by_tile`: queries are rotated between its blocks. `pairs`:
  /// the products are of pairs. `mixed_terms`: of all mixed biases together.
  prefill_workspace(arena& memory, const attention_shape& shape, bool rotates, bool by_tile,
                    bool pairs, index_t mixed_terms) {
    for (auto& group : groups) group = query_group<Isa>::take(memory, shape, by_tile, pairs);
    weights = memory.take<float>(geometry<Isa>::tile_keys * geometry<Isa>::group_rows);
    stored_row = memory.take<float>(rotates ? shape.head_dim : 0);
    rotors_of_row = memory.take<float>(rotates && !by_tile ? 2 * shape.head_dim : 0);
    const index_t key_pairs = pairs ? padded_pairs<Isa>(shape.head_dim) : 0;
    const index_t value_pairs = pairs ? ceil_div(padded_values<Isa>(shape.value_dim), 2) : 0;
    tile.keys = memory.take<float>(geometry<Isa>::tile_keys * std::max(shape.head_dim, key_pairs));
    tile.values =
        memory.take<float>(geometry<Isa>::tile_keys * std::max(shape.value_dim, value_pairs));
    tile.row = memory.take<float>(std::max(shape.head_dim, pairs ? shape.value_dim : 0));
    tile.rounded = memory.take<bfloat16>(pairs ? summed_numbers<Isa> * shape.value_dim : 0);
    coefficients = memory.take<float>(mixed_terms * geometry<Isa>::block_rows);
  }
};

}  // namespace relpos::inline RELPOS_ABI
