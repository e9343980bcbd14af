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

#include "relpos/core/executor.hpp"
#include "relpos/core/row_positions.hpp"
#include "relpos/kernel/given_rotation.hpp"
#include "relpos/kernel/prefill_preparation.hpp"
#include "relpos/kernel/prefill_scratch.hpp"
#include "relpos/kernel/problem.hpp"
#include "relpos/kernel/row_factor_stage.hpp"
#include "relpos/kernel/score_bound.hpp"
#include "relpos/kernel/strided_rows.hpp"
#include "relpos/kernel/tile_attention.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class prefill;

template <class Isa, class Out, class Query, class Key, class Value, class... Policies>
class prefill<Isa, attention_problem<Out, Query, Key, Value, Policies...>> {
 public:
  using problem_type = attention_problem<Out, Query, Key, Value, Policies...>;
  using scratch_type = prefill_scratch<Isa, std::tuple<Policies...>>;

  prefill(const problem_type& problem, const scratch_type& scratch)
      : problem_(problem), scratch_(scratch), preparation_(problem, scratch) {}

  template <executor Executor>
  void run(const Executor& runner) const {
    runner.run(preparation_.count(), [this](index i, index slot) { preparation_.run(i, slot); });
    runner.run(attend_count(), [this](index i, index slot) { attend(i, slot); });
  }

 private:
  using tiles = geometry<Isa>;
  using bound_policies = std::tuple<bound_policy<Policies>...>;
  using mask_type = mask_stage<Isa, bound_policy<Policies>...>;
  static constexpr bool rotates = any_rotation<Policies...>;
  static constexpr bool turns_by_tile = turns_between_origins<Policies...>;

  const attention_shape& shape() const { return problem_.shape; }

  index blocks() const { return ceil_div(shape().query_length, tiles::block_rows); }
  index attend_count() const { return shape().batch * shape().query_heads * blocks(); }

  // Within a head from the last block, the longest where a mask is causal, to the first; heads one after
  // another, so that the items of a head find its keys in cache.
  void attend(index item, index slot) const {
    const index block = blocks() - 1 - item % blocks();
    const index head = item / blocks() % shape().query_heads;
    const index batch = item / blocks() / shape().query_heads;
    attend_block(batch, head, block * tiles::block_rows, slot,
                 std::make_index_sequence<static_cast<std::size_t>(tiles::groups)>());
  }

  group_rows rows_of_group(index block_row, std::size_t group) const {
    const index first = block_row + static_cast<index>(group) * tiles::group_rows;
    const index count = std::clamp<index>(shape().query_length - first, 0, tiles::group_rows);
    return {first, count, first + problem_.position.query_offset, problem_.position.key_offset};
  }

  template <std::size_t... G>
  void attend_block(index batch, index head, index block_row, index slot,
                    std::index_sequence<G...>) const {
    const bound_policies bound = bind_all(problem_.policies, batch, head);
    const score_factors factors(problem_.scale, problem_.softcap,
                                softmax_temperature(problem_.policies, batch, head));

    const auto position = row_positions(problem_.policies, problem_.position, batch);
    const std::array rows{rows_of_group(block_row, G)...};
    const std::array masks{mask_type(bound, rows[G], shape().key_length)...};
    const std::array biases{
        score_stages(batch, head, factors.bias, rows[G], position, bound, masks[G])...};
    prefill_slot<Isa> memory = scratch_.slot(slot);
    for (std::size_t g = 0; g < rows.size(); ++g) {
      start_group(memory.groups[g], batch, head, rows[g], factors.query, memory);
    }

    const index key_head = shape().key_head(head);
    const auto keys = keys_of(batch, key_head);
    const key_tiles<Isa> tiling = preparation_.tiling();
    const strided_rows<Isa, Value> values(problem_.v, batch, key_head);
    const index some_first = std::min({masks[G].extremes().some_first...});
    const index some_last = std::max({masks[G].extremes().some_last...});
    key_tile<Isa> tile;
    for (index t = tiling.of(some_last - 1); some_first < some_last && t >= tiling.of(some_first);
         --t) {
      const key_range range = tiling.rows(t);
      bool found = false;
      for (std::size_t g = 0; g < rows.size(); ++g) {
        if (rows[g].count == 0) continue;
        const tile_class tile_is = masks[g].classify(range.first, range.last);
        if (tile_is == tile_class::skip) continue;
        if constexpr (turns_by_tile) {
          memory.groups[g].turn(preparation_.gains(), rows[g].q_pos,
                                rotation_rows::origin(t * tiling.size), shape().head_dim);
        }
        if (preparation_.uses_bound()) {
          memory.groups[g].measure_norms(shape().head_dim);
          const float norm = scratch_.key_norms(batch, key_head)[t - tiling.first()];
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
          const key_range next = t > tiling.of(some_first) ? tiling.rows(t - 1) : key_range{0, 0};
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
    const float sink = sink_logit(bound) * log2e;
    for (std::size_t g = 0; g < rows.size(); ++g) {
      memory.groups[g].finish(problem_, batch, head, rows[g].first_row, sink);
    }
  }

  /// The largest weight, relative to the row's sum so far, of a key that may be left out: with all keys at it, the
  /// tolerance is reached.
  float negligible_weight() const {
    return problem_.tolerance / static_cast<float>(shape().key_length);
  }

  void start_group(query_group<Isa>& group, index batch, index head, const group_rows& rows,
                   float factor, const prefill_slot<Isa>& memory) const {
    const strided_rows<Isa, Query> stored(problem_.q, batch, head);
    const auto start = [&](const auto& source) {
      group.start(source, rows.first_row, rows.count, factor, shape().head_dim, shape().value_dim,
                  memory.key_buffer);  // free until the first tile
    };
    if constexpr (turns_by_tile) {
      with_rotation(problem_.policies, [&](const auto& policy) {
        const rotation_rows rotations = policy.rotations();
        start(turned_rows<Isa, decltype(stored)>{
            stored, rotations, rotations.queries, problem_.position.query_offset,
            shape().query_length, shape().head_dim, memory.stored_row});
      });
    } else if constexpr (rotates) {
      const auto position = row_positions(problem_.policies, problem_.position, batch);
      const auto of_query = [&](index row, index axis) { return position.query(row, axis); };
      with_rotation(problem_.policies, [&](const auto& policy) {
        start(given_rotation<Isa, decltype(stored), std::decay_t<decltype(policy)>,
                             decltype(of_query)>(stored, policy, of_query, shape().head_dim,
                                                 memory.stored_row, memory.turns_of_row));
      });
    } else {
      start(stored);
    }
  }

  auto keys_of(index batch, index key_head) const {
    if constexpr (rotates) {
      return packed_rows{scratch_.turned_keys(batch, key_head), shape().head_dim};
    } else {
      return strided_rows<Isa, Key>(problem_.k, batch, key_head);
    }
  }

  /// What is done to the scores of a group between product and mask, in order.
  template <class RowPositions>
  auto score_stages(index batch, index head, float factor, const group_rows& rows,
                    const RowPositions& position, [[maybe_unused]] const bound_policies& bound,
                    [[maybe_unused]] const mask_type& mask) const {
    const auto biases =
        bias_stages(batch, head, factor, rows, position, std::index_sequence_for<Policies...>());
    if constexpr (problem_type::has_row_factor) {
      const row_factor_stage<Isa> factors(bound, rows, position,
                                          [&](index lane) { return mask.visible_count(lane); });
      return std::tuple_cat(biases, std::tuple(factors));
    } else {
      return biases;
    }
  }
  template <class RowPositions, std::size_t... I>
  auto bias_stages([[maybe_unused]] index batch, [[maybe_unused]] index head,
                   [[maybe_unused]] float factor, const group_rows& rows,
                   const RowPositions& position, std::index_sequence<I...>) const {
    return std::tuple(make_bias_stage<Isa>(std::get<I>(problem_.policies), batch, head, factor,
                                           table_of<I>(head), rows, position)...);
  }
  template <std::size_t I>
  bias_table table_of(index head) const {
    using policy_type = std::tuple_element_t<I, std::tuple<Policies...>>;
    if constexpr (tabulates_bias<policy_type>) {
      return scratch_.table(I, head);
    } else {
      return {};
    }
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
  prefill_preparation<Isa, problem_type> preparation_;
};

}  // namespace relpos::inline RELPOS_ABI
