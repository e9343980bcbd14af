#pragma once
// The implementation of lowered_head for the policies, the kv source and the output of a call.

#include <algorithm>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "relpos/call/problem.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/cpu/call_workspace.hpp"
#include "relpos/cpu/decode/query_rows.hpp"
#include "relpos/cpu/decode/stages.hpp"
#include "relpos/cpu/extreme_row.hpp"
#include "relpos/cpu/lowered_head.hpp"
#include "relpos/cpu/prefill/bias_stage.hpp"
#include "relpos/cpu/prefill/late_stages.hpp"
#include "relpos/rows/call_rows.hpp"

namespace relpos::inline RELPOS_ABI {

/// The stages of a group of queries: biases in argument order, the cap of score and bias, the
/// factors of its rows. `coefficients` is the group's memory for mixed biases.
template <class Isa, class Problem, std::size_t... I>
auto stages_of(const problem_sequence<Problem>& sequence,
               const call_workspace<Isa, Problem>& workspace, index_t head, float factor,
               const group_rows& rows, index_t piece, [[maybe_unused]] float* coefficients,
               std::index_sequence<I...>) {
  const auto position = row_positions(sequence.call.policies, sequence.position, sequence.at);
  [[maybe_unused]] const auto stage = [&]<std::size_t At>(std::integral_constant<std::size_t, At>) {
    const auto& policy = std::get<At>(sequence.call.policies);
    if constexpr (is_bias<std::decay_t<decltype(policy)>>) {
      const index_t before = mixed_terms(sequence.call.policies, At);
      return std::tuple(make_bias_stage<Isa>(
          policy, sequence.at, head, factor, table_of<At>(sequence, workspace, head, piece), rows,
          position, coefficients + before * geometry<Isa>::group_rows));
    } else {
      return std::tuple();
    }
  };
  [[maybe_unused]] const auto head_policies = bind_all(sequence.call.policies, sequence.at, head);
  const auto cap = [&] {
    if constexpr (Problem::caps_bias) {
      return std::tuple(cap_stage<Isa>(cap_after_bias(head_policies) * factor));
    } else {
      return std::tuple();
    }
  };
  auto biases = std::tuple_cat(stage(std::integral_constant<std::size_t, I>())..., cap());
  if constexpr (Problem::has_row_factor) {
    const row_factor_stage<Isa> factors(head_policies, rows, position, [&](index_t lane) {
      const key_range visible = visible_key_rows(head_policies, rows.q_pos + lane, rows.key_offset,
                                                 sequence.shape.key_length);
      return sequence.count_shown(visible, rows.first_row + lane);
    });
    return std::tuple_cat(std::move(biases), std::tuple(factors));
  } else {
    return biases;
  }
}

template <class Isa, class Problem>
using stages_of_call = decltype(stages_of<Isa>(
    std::declval<const problem_sequence<Problem>&>(),
    std::declval<const call_workspace<Isa, Problem>&>(), index_t{}, 0.0f, group_rows{}, index_t{},
    static_cast<float*>(nullptr),
    std::make_index_sequence<std::tuple_size_v<decltype(Problem::policies)>>()));

template <class Problem>
using element_masks_of_call =
    element_masks_of<decltype(bind_all(std::declval<Problem>().policies, index_t{}, index_t{}))>;

/// The element masks of prefill, which takes a selection as a mask.
template <class Problem>
using prefill_masks_of_call =
    decltype(std::tuple_cat(std::declval<element_masks_of_call<Problem>>(),
                            std::declval<selection_masks_of<decltype(Problem::policies)>>()));

template <class Isa, class Problem>
using staged_head_of_call =
    staged_head<Isa, stages_of_call<Isa, Problem>, prefill_masks_of_call<Problem>>;

template <class Isa, class Problem>
class policy_head final : public staged_head_of_call<Isa, Problem> {
 public:
  using biases_type = stages_of_call<Isa, Problem>;
  using masks_type = prefill_masks_of_call<Problem>;
  using workspace_type = call_workspace<Isa, Problem>;

  /// `memory` is the memory of `worker`, with room for the rotation of one row. `next` is probably
  /// computed after this head.
  template <class Workspace>
  policy_head(const problem_sequence<Problem>& sequence, const workspace_type& workspace,
              index_t head, const Workspace& memory, index_t worker,
              const std::optional<query_block>& next = std::nullopt)
      : staged_head_of_call<Isa, Problem>(facts_of(sequence, head)),
        sequence_(sequence),
        workspace_(workspace),
        keys_(keys_of<Isa>(sequence, workspace, head, worker)),
        values_(sequence.call.source.template values<Isa>(sequence.at, head)),
        memory_{memory.stored_row, memory.rotors_of_row, coefficients_of(memory)},
        worker_(worker),
        next_(next) {}

  const auto& keys() const { return keys_; }
  const auto& values() const { return values_; }

  float temperature(index_t head) const override {
    return softmax_temperature(sequence_.call.policies, sequence_.at, head);
  }
  void find_sinks(index_t head, index_t first, index_t count, float* sinks) const override {
    const auto policies_of_head = head_policies(head);
    for (index_t i = 0; i < count; ++i) sinks[i] = sink_logit(policies_of_head, first + i) * log2e;
  }

  void find_queries(index_t head, index_t first, index_t count, float* buffer,
                    const float** rows) const override {
    with_query_rows<Isa>(sequence_, head, memory_, [&](const auto& source) {
      for (index_t i = 0; i < count; ++i) {
        rows[i] = read_row(source, first + i, buffer + i * sequence_.shape.head_dim);
      }
    });
  }

  block_rotors rotors([[maybe_unused]] index_t piece) const override {
    if constexpr (workspace_type::by_tile) {
      return workspace_.rotors(sequence_.call, workspace_.sets().of(sequence_.at, piece));
    } else {
      return {};
    }
  }

  void find_tile(const key_range& range, const tile_buffers& buffers,
                 key_tile<Isa, float>& tile) const override {
    tile.find(keys_, values_, range, sequence_.position.key_offset, sequence_.shape, buffers);
  }
  void find_tile([[maybe_unused]] const key_range& range,
                 [[maybe_unused]] const tile_buffers& buffers,
                 [[maybe_unused]] key_tile<Isa, bfloat16_pair>& tile) const override {
    if constexpr (compiles_pairs<Isa, typename Problem::source_type>) {
      tile.find(keys_, values_, range, sequence_.position.key_offset, sequence_.shape, buffers);
    }
  }

  void expect_keys(const key_range& next, tile_places<Isa>& tile) const override {
    tile.expect_nothing();
    tile.next_keys.find(keys_, next, sequence_.shape.head_dim, tile.strips());
    tile.next_values.find(values_, next, sequence_.shape.value_dim, tile.strips());
  }

  void expect_next_block(tile_places<Isa>& tile) const override {
    tile.expect_nothing();
    if (!next_) return;
    if (next_->sequence == sequence_.at) {
      expect_block(sequence_, *next_, tile);
    } else {
      expect_block(sequence_.call.of(next_->sequence), *next_, tile);
    }
  }

  const float* key_norms(index_t piece) const override {
    return workspace_.key_norms(sequence_.at, this->key_head, piece);
  }

  bias_bound largest_bias([[maybe_unused]] index_t head, [[maybe_unused]] const group_rows& rows,
                          [[maybe_unused]] const key_range& keys,
                          [[maybe_unused]] float factor) const override {
    if constexpr (Problem::can_bound) {
      const distance_range distances = distances_between(
          positions_of_rows(), rows.first_row, rows.first_row + rows.count, keys.first, keys.last);
      const tile region{rows.q_pos, rows.q_pos + rows.count, keys.first + rows.key_offset,
                        keys.last + rows.key_offset};
      return relpos::largest_bias(head_policies(head), region, distances, factor);
    } else {
      return {};
    }
  }

  void attend_extreme_row([[maybe_unused]] index_t head, [[maybe_unused]] index_t row,
                          [[maybe_unused]] float* buffer) const override {
    if constexpr (Problem::has_bias) {
      relpos::attend_extreme_row<Isa>(sequence_, head, row, buffer);
    }
  }

  void find_visible(index_t head, index_t first, index_t count, key_range* visible) const override {
    const auto policies_of_head = head_policies(head);
    for (index_t i = 0; i < count; ++i) {
      visible[i] = visible_key_rows(policies_of_head, query_position(first + i),
                                    sequence_.position.key_offset, sequence_.shape.key_length);
    }
  }

  selected_rows selected(index_t row) const override {
    selected_rows result{{}, sequence_.position.key_offset};
    with_selection(sequence_.call.policies, [&](const auto& policy) {
      result.keys = policy.selection(sequence_.at, this->key_head, row);
    });
    return result;
  }

  tile_class classify_elements_of(index_t head, index_t row, const key_range& keys) const override {
    const index_t key_offset = sequence_.position.key_offset;
    return classify_row(element_masks(head_policies(head)), query_position(row),
                        {keys.first + key_offset, keys.last + key_offset});
  }

  void finish_scores(const decode_query_rows& rows, const key_lanes& keys, float* scores,
                     tile_class* seen) const override {
    if constexpr (Problem::selects) {
      using places = selected_positions<row_positions_of<decltype(Problem::policies)>>;
      finish_scores(rows, places{positions_of_rows(), rows.selected.value_or(selected_rows())},
                    keys, scores, seen);
    } else {
      finish_scores(rows, positions_of_rows(), keys, scores, seen);
    }
  }

  mask_stage<Isa, masks_type> masks(index_t head, const group_rows& rows) const override {
    const auto policies_of_head = head_policies(head);
    return {policies_of_head,
            std::tuple_cat(element_masks(policies_of_head),
                           selection_masks(sequence_.call.policies, sequence_.at, this->key_head,
                                           sequence_.position.query_offset)),
            rows, sequence_.shape.key_length};
  }
  biases_type biases(index_t head, float factor, const group_rows& rows,
                     index_t piece) const override {
    const index_t group = rows.first_row / geometry<Isa>::group_rows % geometry<Isa>::groups;
    const index_t terms = mixed_terms(sequence_.call.policies);
    return stages_of<Isa>(
        sequence_, workspace_, head, factor, rows, piece,
        memory_.coefficients + group * terms * geometry<Isa>::group_rows,
        std::make_index_sequence<std::tuple_size_v<decltype(Problem::policies)>>());
  }

 private:
  template <class RowPositions>
  void finish_scores(const decode_query_rows& rows, const RowPositions& places,
                     const key_lanes& keys, float* scores, tile_class* seen) const {
    for (index_t i = 0; i < rows.count; ++i, scores += decode_geometry::tile_keys) {
      const index_t head = rows.head[i];
      const index_t row = rows.row[i];
      const auto policies_of_head = head_policies(head);
      const score_factors factors(sequence_.call.scale, sequence_.call.softcap(),
                                  temperature(head));
      if (factors.softcap != 0.0f) cap_row<Isa>(factors.softcap, keys, scores);
      const auto key_position = [&](index_t key) {
        return places.key_row(key) + sequence_.position.key_offset;
      };
      add_biases(head, row, places, key_position, factors.bias, keys, scores,
                 std::make_index_sequence<std::tuple_size_v<decltype(Problem::policies)>>());
      if constexpr (Problem::caps_bias) {
        cap_biased_row<Isa>(cap_after_bias(policies_of_head) * factors.bias, keys, scores);
      }
      if constexpr (Problem::has_row_factor) {
        const index_t visible = sequence_.count_shown(rows.visible[i], row);
        scale_row<Isa>(logit_factor(policies_of_head, row, places.query(row), visible), keys,
                       scores);
      }
      seen[i] = hide_row<Isa>(element_masks(policies_of_head), query_position(row), rows.visible[i],
                              key_position, keys, scores);
    }
  }

  static head_facts facts_of(const problem_sequence<Problem>& sequence, index_t head) {
    return {.key_head = head,
            .shape = sequence.shape,
            .position = sequence.position,
            .resident = sequence.call.resident_of(sequence.at),
            .pieces = Problem::pieces,
            .scale = sequence.call.scale,
            .softcap = sequence.call.softcap(),
            .tolerance = sequence.call.opts.tolerance,
            .out = output_rows(sequence.out()),
            .lse = sequence.lse,
            .statistics = sequence.statistics,
            .has_bias = Problem::has_bias,
            .masks_elements = std::tuple_size_v<element_masks_of_call<Problem>> > 0,
            .rotates_by_tile = workspace_type::by_tile,
            .bounds_scores = sequence.call.bounds_scores(sequence.shape, geometry<Isa>::group_rows,
                                                         geometry<Isa>::tile_keys)};
  }

  void expect_block(const problem_sequence<Problem>& sequence, const query_block& next,
                    tile_places<Isa>& tile) const {
    constexpr index_t block_rows = geometry<Isa>::block_rows;
    const attention_shape& sizes = sequence.shape;
    const index_t first = next.index * block_rows;
    const index_t last = std::min(first + block_rows, sizes.query_length);
    tile.next_queries.find(stored_query_rows<Isa>(sequence, next.head), {first, last},
                           sizes.head_dim, tile.strips());
    const index_t next_key_head = sizes.key_head(next.head);
    const bool has_same_keys = sequence.at == sequence_.at && next_key_head == this->key_head;
    constexpr index_t tile_keys = geometry<Isa>::tile_keys;
    if (has_same_keys && sizes.key_length <= 4 * tile_keys) return;  // they are in the cache
    const positions& offsets = sequence.position;
    const key_range visible =
        visible_key_rows(bind_all(sequence.call.policies, sequence.at, next.head),
                         last - 1 + offsets.query_offset, offsets.key_offset, sizes.key_length);
    if (visible.last <= visible.first) return;
    const key_tiles<Isa> tiling{offsets.key_offset, sizes.key_length};
    const key_range rows = tiling.rows(tiling.of(visible.last - 1));
    if (workspace_.rotates_by_worker() && !has_same_keys) {
      // They are rotated first, from the first to the last.
      tile.next_keys.find(sequence.call.source.template keys<Isa>(sequence.at, next_key_head),
                          {0, std::min(tile_keys, sizes.key_length)}, sizes.head_dim,
                          tile.strips());
    } else {
      tile.next_keys.find(keys_of<Isa>(sequence, workspace_, next_key_head, worker_), rows,
                          sizes.head_dim, tile.strips());
    }
    tile.next_values.find(sequence.call.source.template values<Isa>(sequence.at, next_key_head),
                          rows, sizes.value_dim, tile.strips());
  }

  /// Memory for the rotation of one row: its stored channels as floats, and its rotors; and for the
  /// coefficients of mixed biases, which decode does not copy.
  struct row_memory {
    float* stored_row;
    float* rotors_of_row;
    float* coefficients;
  };
  template <class Workspace>
  static float* coefficients_of([[maybe_unused]] const Workspace& memory) {
    if constexpr (requires { memory.coefficients; }) {
      return memory.coefficients;
    } else {
      return nullptr;
    }
  }

  auto head_policies(index_t head) const {
    return bind_all(sequence_.call.policies, sequence_.at, head);
  }
  auto positions_of_rows() const {
    return row_positions(sequence_.call.policies, sequence_.position, sequence_.at);
  }
  index_t query_position(index_t row) const { return row + sequence_.position.query_offset; }

  template <class RowPositions, class KeyPosition, std::size_t... I>
  void add_biases([[maybe_unused]] index_t head, [[maybe_unused]] index_t row,
                  [[maybe_unused]] const RowPositions& places,
                  [[maybe_unused]] const KeyPosition& key_position, [[maybe_unused]] float factor,
                  [[maybe_unused]] const key_lanes& keys, [[maybe_unused]] float* scores,
                  std::index_sequence<I...>) const {
    [[maybe_unused]] const index_t piece =
        this->resident.piece_of(keys.first_row + decode_geometry::tile_keys);
    (add_row_bias<Isa>(std::get<I>(sequence_.call.policies),
                       table_of<I>(sequence_, workspace_, head, piece), sequence_.at, head, row,
                       places, query_position(row), key_position, factor, keys, scores),
     ...);
  }

  const problem_sequence<Problem>& sequence_;
  const workspace_type& workspace_;
  decltype(keys_of<Isa>(std::declval<const problem_sequence<Problem>&>(),
                        std::declval<const workspace_type&>(), index_t{}, index_t{})) keys_;
  decltype(std::declval<const Problem&>().source.template values<Isa>(index_t{},
                                                                      index_t{})) values_;
  row_memory memory_;
  index_t worker_;
  std::optional<query_block> next_;
};

}  // namespace relpos::inline RELPOS_ABI
