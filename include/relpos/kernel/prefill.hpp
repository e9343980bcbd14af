#pragma once
// The fused attention of many queries. One work item is one block of query rows of one head:
//
//   pack the queries, turned and scaled, one per SIMD lane
//   for each key tile, from the last that any query sees down to the first:
//     for each query group: classify by the masks -> skip | full | partial; skip if the bound allows
//       S = QK^T . softcap . bias . mask . online softmax . O = rescale O + PV
//   out = O / l, lse
//
// Going down, causal queries meet their nearest keys first: the running maximum is high when the far tiles
// come, and biases that decay with distance let them be skipped. The order is that of absolute positions
// and the same for every row, so a row's bits depend neither on how rows are grouped into blocks, batches
// and calls nor on the threads, unless a tolerance leaves out tiles by what a group would miss.

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "relpos/core/row_positions.hpp"
#include "relpos/kernel/call_scratch.hpp"
#include "relpos/kernel/extreme_row.hpp"
#include "relpos/kernel/prepared.hpp"
#include "relpos/kernel/problem.hpp"
#include "relpos/kernel/row_factor_stage.hpp"
#include "relpos/kernel/score_bound.hpp"
#include "relpos/kernel/tile_attention.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class prefill;

/// The blocks of one sequence.
template <class Isa, class Out, class Query, class Store, class... Policies>
class prefill<Isa, attention_problem<Out, Query, Store, Policies...>> {
 public:
  using problem_type = attention_problem<Out, Query, Store, Policies...>;
  using scratch_type = call_scratch<Isa, problem_type>;

  /// `problem` is of one sequence.
  prefill(const problem_type& problem, const scratch_type& scratch)
      : problem_(problem), scratch_(scratch) {}

  // Within a head from the last block, the longest where a mask is causal, to the first; heads one after
  // another, so that the items of a head find its keys in cache.
  void attend(index_t item, index_t slot) const {
    const index_t blocks = ceil_div(shape().query_length, tiles::block_rows);
    const index_t block = blocks - 1 - item % blocks;
    attend_block(item / blocks, block * tiles::block_rows, slot,
                 std::make_index_sequence<static_cast<std::size_t>(tiles::groups)>());
  }

 private:
  using tiles = geometry<Isa>;
  using bound_policies = std::tuple<bound_policy<Policies>...>;
  using mask_type = mask_stage<Isa, element_masks_of<bound_policies>>;
  static constexpr bool by_tile = scratch_type::by_tile;

  const attention_shape& shape() const { return problem_.shape; }

  group_rows rows_of_group(index_t block_row, std::size_t group) const {
    const index_t first = block_row + static_cast<index_t>(group) * tiles::group_rows;
    const index_t count = std::clamp<index_t>(shape().query_length - first, 0, tiles::group_rows);
    return {first, count, first + problem_.position.query_offset, problem_.position.key_offset};
  }

  template <std::size_t... G>
  void attend_block(index_t head, index_t block_row, index_t slot,
                    std::index_sequence<G...>) const {
    const index_t sequence = problem_.sequence;
    const bound_policies bound = bind_all(problem_.policies, sequence, head);
    const score_factors factors(problem_.scale, problem_.softcap(),
                                softmax_temperature(problem_.policies, sequence, head));

    const auto position = row_positions(problem_.policies, problem_.position, sequence);
    const std::array rows{rows_of_group(block_row, G)...};
    const std::array masks{mask_type(bound, rows[G], shape().key_length)...};
    prefill_slot<Isa> memory = scratch_.slot_of_prefill(slot);
    for (std::size_t g = 0; g < rows.size(); ++g) {
      start_group(memory.groups[g], head, rows[g], factors.query, memory);
    }

    const index_t key_head = shape().key_head(head);
    const auto keys = keys_of<Isa>(problem_, scratch_, key_head);
    const auto values = problem_.store.template values<Isa>(sequence, key_head);
    const key_tiles<Isa> tiling{problem_.position.key_offset, shape().key_length};
    const bool uses_bound = uses_score_bound<Isa, Policies...>(problem_.choice, shape());
    const key_range some_see{std::min({masks[G].extremes().some_first...}),
                             std::max({masks[G].extremes().some_last...})};
    key_tile<Isa> tile;
    for (index_t piece = 0; piece < problem_type::pieces; ++piece) {
      const key_range resident = problem_.resident_of(sequence).piece(piece);
      const key_range keys_of_piece = intersect(resident, some_see);
      if (keys_of_piece.last <= keys_of_piece.first) continue;
      const std::array biases{
          score_stages(head, factors.bias, rows[G], position, bound, masks[G], piece)...};
      [[maybe_unused]] const auto turn_to_tile = [&](query_group<Isa>& group, index_t q_pos,
                                                     index_t t) {
        if constexpr (by_tile) {
          group.turn(scratch_.gains(problem_, scratch_.sets().of(sequence, piece)), q_pos,
                     rotation_rows::origin(t * tiling.size), shape().head_dim);
        }
      };
      const index_t first_tile = tiling.of(keys_of_piece.first);
      for (index_t t = tiling.of(keys_of_piece.last - 1); t >= first_tile; --t) {
        const key_range range = tiling.rows(t);
        bool found = false;
        for (std::size_t g = 0; g < rows.size(); ++g) {
          if (rows[g].count == 0) continue;
          const tile_class tile_is = masks[g].classify(range.first, range.last);
          if (tile_is == tile_class::skip) continue;
          turn_to_tile(memory.groups[g], rows[g].q_pos, t);
          if (uses_bound) {
            memory.groups[g].measure_norms(shape().head_dim);
            const float* const norms = scratch_.key_norms(sequence, key_head, piece);
            const float norm = norms[t - tiling.of(resident.first)];
            const distance_range distances =
                distances_between(position, rows[g].first_row, rows[g].first_row + rows[g].count,
                                  range.first, range.last);
            const bias_bound bias = largest_bias(bound, distances, factors.bias);
            if (tile_vanishes(memory.groups[g], shape().head_dim, norm, bias, factors.softcap,
                              negligible_weight())) {
              continue;
            }
          }
          if (!found) {
            const key_range next = t > first_tile ? tiling.rows(t - 1) : key_range{0, 0};
            tile.find(keys, values, range, next, memory.key_buffer, shape().head_dim,
                      memory.value_buffer, shape().value_dim);
            found = true;
          } else {
            tile.next_count = 0;  // another group has seen to it
          }
          attend_tile(memory.groups[g], biases[g], masks[g], tile, tile_is, factors.softcap,
                      memory.weights);
        }
      }
    }
    const float sink = sink_logit(bound) * log2e;
    for (std::size_t g = 0; g < rows.size(); ++g) {
      memory.groups[g].finish(problem_, head, rows[g].first_row, sink);
      if constexpr (problem_type::has_bias) {
        for (index_t lane = 0; lane < rows[g].count; ++lane) {
          if (memory.groups[g].maximum[lane] >= extreme_exponent) continue;
          attend_extreme_row<Isa>(problem_, head, rows[g].first_row + lane, memory.value_buffer);
        }
      }
    }
  }

  /// The largest weight, relative to the row's sum so far, of a key that may be left out: with all keys at it, the
  /// tolerance is reached.
  float negligible_weight() const {
    const index_t keys = problem_.resident_of(problem_.sequence).count();
    return problem_.choice.tolerance / static_cast<float>(keys);
  }

  void start_group(query_group<Isa>& group, index_t head, const group_rows& rows, float factor,
                   const prefill_slot<Isa>& memory) const {
    with_query_rows<Isa>(problem_, head, memory, [&](const auto& source) {
      group.start(source, rows.first_row, rows.count, factor, shape().head_dim, shape().value_dim,
                  memory.key_buffer);  // free until the first tile
    });
  }

  /// What is done to the scores of a group between product and mask, in order.
  template <class RowPositions>
  auto score_stages(index_t head, float factor, const group_rows& rows,
                    const RowPositions& position, [[maybe_unused]] const bound_policies& bound,
                    [[maybe_unused]] const mask_type& mask, index_t piece) const {
    const auto biases =
        bias_stages(head, factor, rows, position, piece, std::index_sequence_for<Policies...>());
    if constexpr (problem_type::has_row_factor) {
      const row_factor_stage<Isa> factors(bound, rows, position, [&](index_t lane) {
        return problem_.count_shown(mask.visible_rows_of(lane), rows.first_row + lane);
      });
      return std::tuple_cat(biases, std::tuple(factors));
    } else {
      return biases;
    }
  }
  template <class RowPositions, std::size_t... I>
  auto bias_stages([[maybe_unused]] index_t head, [[maybe_unused]] float factor,
                   const group_rows& rows, const RowPositions& position,
                   [[maybe_unused]] index_t piece, std::index_sequence<I...>) const {
    const auto stage = [&]<std::size_t At>(std::integral_constant<std::size_t, At>) {
      const auto& policy = std::get<At>(problem_.policies);
      if constexpr (is_bias<std::decay_t<decltype(policy)>>) {
        return std::tuple(make_bias_stage<Isa>(policy, problem_.sequence, head, factor,
                                               table_of<At>(problem_, scratch_, head, piece), rows,
                                               position));
      } else {
        return std::tuple();
      }
    };
    return std::tuple_cat(stage(std::integral_constant<std::size_t, I>())...);
  }
  /// With as many vectors as the group's rows fill: the last group of a sequence is often short.
  template <int Vectors = Isa::tile_vectors, class Biases>
  void attend_tile(const query_group<Isa>& group, const Biases& biases, const mask_type& masks,
                   const key_tile<Isa>& tile, tile_class tile_is, float softcap,
                   float* weights) const {
    if constexpr (Vectors > 1) {
      if (group.width < Vectors * lanes<Isa>) {
        attend_tile<Vectors - 1>(group, biases, masks, tile, tile_is, softcap, weights);
        return;
      }
    }
    tile_attention<Isa, Vectors, Biases, mask_type>{group,
                                                    biases,
                                                    masks,
                                                    shape().head_dim,
                                                    shape().value_dim,
                                                    softcap,
                                                    weights,
                                                    problem_.statistics.any()}
        .run(tile, tile_is);
  }

  const problem_type& problem_;
  const scratch_type& scratch_;
};

}  // namespace relpos::inline RELPOS_ABI
