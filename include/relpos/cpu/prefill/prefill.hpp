#pragma once
// The fused attention of many queries. One work item is one block of query rows of one head:
//
//   pack the queries, rotated and scaled, one per SIMD lane
//   for each key tile, from the last that any query sees down to the first:
//     for each query group: classify by masks -> skip | full | partial; skip if the bound allows
//       S = QK^T . softcap . bias . mask . online softmax . O = rescale O + PV
//   out = O / l, lse
//
// In descending order, causal queries meet their nearest keys first: the running maximum is high
// before the distant tiles come, and biases that decay with distance let them be skipped. The order
// is the order of absolute positions and the same for every row. So a row's bits depend neither on
// how rows are grouped into blocks, batches and calls nor on the threads, unless a tolerance skips
// tiles: a tile is skipped for a whole group or not at all.

#include <algorithm>
#include <array>
#include <utility>

#include "relpos/cpu/lowered_head.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/score_bound.hpp"
#include "relpos/cpu/prefill/tile_attention.hpp"
#include "relpos/cpu/prefill/workspace.hpp"

namespace relpos::inline RELPOS_ABI {

/// The query blocks of one key head of a sequence. `Biases` and `ElementMasks` are the parameters
/// of a staged_head, `Operand` is what the two products multiply.
template <class Isa, class Biases, class ElementMasks, class Operand = float>
class prefill {
 public:
  using head_type = staged_head<Isa, Biases, ElementMasks>;

  prefill(const head_type& head, prefill_workspace<Isa>& memory) : head_(head), memory_(memory) {}

  /// Computes one block of query rows of one query head.
  void attend(index_t head, index_t block);

 private:
  using tiles = geometry<Isa>;
  using mask_type = mask_stage<Isa, ElementMasks>;

  const attention_shape& shape() const { return head_.shape; }

  group_rows rows_of_group(index_t block_row, std::size_t group) const {
    const index_t first = block_row + static_cast<index_t>(group) * tiles::group_rows;
    const index_t count = std::clamp<index_t>(shape().query_length - first, 0, tiles::group_rows);
    return {first, count, first + head_.position.query_offset, head_.position.key_offset,
            shape().key_length};
  }

  template <std::size_t... G>
  void attend_block(index_t head, index_t block_row, std::index_sequence<G...>) {
    const score_factors factors = head_.factors_of(head);
    const std::array rows{rows_of_group(block_row, G)...};
    const std::array masks{head_.masks(head, rows[G])...};
    for (std::size_t g = 0; g < rows.size(); ++g) start_group(g, head, rows[g], factors.query);

    const key_tiles<Isa> tiling{head_.position.key_offset, shape().key_length};
    const key_range some_see{std::min({masks[G].extremes().some_first...}),
                             std::max({masks[G].extremes().some_last...})};
    key_tile<Isa, Operand> tile;
    typename product_unit<Isa, Operand>::type unit;
    for (index_t piece = 0; piece < head_.pieces; ++piece) {
      const key_range resident = head_.resident.piece(piece);
      const key_range keys_of_piece = intersect(resident, some_see);
      if (keys_of_piece.last <= keys_of_piece.first) continue;
      const std::array biases{head_.biases(head, factors.bias, rows[G], piece)...};
      const block_rotors rotors = head_.rotates_by_tile ? head_.rotors(piece) : block_rotors();
      const float* const norms = head_.bounds_scores ? head_.key_norms(piece) : nullptr;
      const index_t first_tile = tiling.of(keys_of_piece.first);
      for (index_t t = tiling.of(keys_of_piece.last - 1); t >= first_tile; --t) {
        const key_range range = tiling.rows(t);
        bool found = false;
        for (std::size_t g = 0; g < rows.size(); ++g) {
          if (rows[g].count == 0) continue;
          query_group<Isa>& group = memory_.groups[g];
          const tile_class tile_is = masks[g].classify(range.first, range.last);
          if (tile_is == tile_class::skip) continue;
          if (head_.rotates_by_tile) {
            group.rotate(rotors, rows[g].q_pos, rotation_rows::block_of(t * tiling.size),
                         shape().head_dim);
          }
          if (head_.bounds_scores) {
            group.measure_norms(shape().head_dim, rounding_slack<Operand>);
            const float norm = norms[t - tiling.of(resident.first)];
            const bias_bound bias = head_.largest_bias(head, rows[g], range, factors.bias);
            if (tile_vanishes(group, shape().head_dim, norm, bias, factors.softcap,
                              negligible_weight())) {
              continue;
            }
          }
          if (!found) {
            head_.find_tile(range, memory_.tile, tile);
            if (t > first_tile) {
              head_.expect_keys(tiling.rows(t - 1), tile);
            } else if (piece + 1 == head_.pieces) {
              head_.expect_next_block(tile);
            } else {
              tile.expect_nothing();
            }
            found = true;
          }
          group.template round<Operand>(shape().head_dim);
          if (attend_tile(group, biases[g], masks[g], tile, tile_is, factors.softcap, unit)) {
            group.has_outputs = true;
          }
        }
      }
    }
    for (std::size_t g = 0; g < rows.size(); ++g) {
      query_group<Isa>& group = memory_.groups[g];
      group.finish(head_, head, rows[g].first_row);
      if (!head_.has_bias) continue;
      for (index_t lane = 0; lane < rows[g].count; ++lane) {
        if (group.maximum[lane] >= extreme_exponent) continue;
        head_.attend_extreme_row(head, rows[g].first_row + lane, memory_.tile.values);
      }
    }
  }

  /// The largest weight, relative to the row's sum so far, of a key that may be skipped: if all
  /// keys have this weight, the error reaches the tolerance.
  float negligible_weight() const {
    return head_.tolerance / static_cast<float>(head_.resident.count());
  }

  void start_group(std::size_t g, index_t head, const group_rows& rows, float factor) {
    static_assert(tiles::group_rows <= tiles::tile_keys,
                  "tile.keys must hold the queries of a group");
    const float* queries[tiles::group_rows];
    head_.find_queries(head, rows.first_row, rows.count, memory_.tile.keys, queries);
    query_group<Isa>& group = memory_.groups[g];
    group.template start<Operand>(queries, rows.count, factor, shape().head_dim);
    if (head_.statistics.any()) group.statistics.start(group.width);
  }

  /// Runs the tile with the number of vectors that the group's rows fill: the last group of a
  /// sequence is often short. Returns false if no query saw a key of the tile.
  template <int Vectors = Isa::tile_vectors>
  bool attend_tile(const query_group<Isa>& group, const Biases& biases, const mask_type& masks,
                   key_tile<Isa, Operand>& tile, tile_class tile_is, float softcap,
                   typename product_unit<Isa, Operand>::type& unit) const {
    if constexpr (Vectors > 1) {
      if (group.width < Vectors * lanes<Isa>) {
        return attend_tile<Vectors - 1>(group, biases, masks, tile, tile_is, softcap, unit);
      }
    }
    return tile_attention<Isa, Vectors, Operand, Biases, mask_type>{group,
                                                                    biases,
                                                                    masks,
                                                                    shape().head_dim,
                                                                    shape().value_dim,
                                                                    softcap,
                                                                    memory_.weights,
                                                                    head_.statistics.any(),
                                                                    unit}
        .run(tile, tile_is);
  }

  const head_type& head_;
  prefill_workspace<Isa>& memory_;
};

// Defined outside the class, and so not inline: relpos::kernels contains a compiled copy.
template <class Isa, class Biases, class ElementMasks, class Operand>
void prefill<Isa, Biases, ElementMasks, Operand>::attend(index_t head, index_t block) {
  attend_block(head, block * tiles::block_rows,
               std::make_index_sequence<static_cast<std::size_t>(tiles::groups)>());
}

}  // namespace relpos::inline RELPOS_ABI
