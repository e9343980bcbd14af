#pragma once
// What a prefill call computes once, before any query block: bias tables, turned keys and their norms. Items
// that depend on nothing but the call, in any order.

#include <tuple>
#include <utility>

#include "relpos/core/row_positions.hpp"
#include "relpos/kernel/bias_table.hpp"
#include "relpos/kernel/given_rotation.hpp"
#include "relpos/kernel/key_tiles.hpp"
#include "relpos/kernel/mask_stage.hpp"
#include "relpos/kernel/prefill_scratch.hpp"
#include "relpos/kernel/problem.hpp"
#include "relpos/kernel/rotation.hpp"
#include "relpos/kernel/score_bound.hpp"
#include "relpos/kernel/strided_rows.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class prefill_preparation;

template <class Isa, class Out, class Query, class Key, class Value, class... Policies>
class prefill_preparation<Isa, attention_problem<Out, Query, Key, Value, Policies...>> {
 public:
  using problem_type = attention_problem<Out, Query, Key, Value, Policies...>;
  using scratch_type = prefill_scratch<Isa, std::tuple<Policies...>>;

  prefill_preparation(const problem_type& problem, const scratch_type& scratch)
      : problem_(problem), scratch_(scratch) {}

  key_tiles<Isa> tiling() const { return {problem_.position.key_offset, shape().key_length}; }

  // The norms cost one pass over K; they pay when many queries share them. The moments of logits are of all
  // keys, also of those whose weight is zero.
  bool uses_bound() const {
    return can_bound_scores<Policies...> && shape().query_length >= 2 * geometry<Isa>::group_rows &&
           !problem_.statistics.of_logits();
  }

  rotation_gains gains() const
    requires turns_between_origins<Policies...>
  {
    index pairs = 0;
    with_rotation(problem_.policies, [&](const auto& policy) { pairs = policy.rotations().pairs; });
    return rotation_gains(scratch_.gains(), pairs, shape(), problem_.position);
  }

  index count() const { return table_items() + gain_items() + key_items(); }

  void run(index item, index slot) const {
    if (item < table_items()) {
      fill_tables(item, std::index_sequence_for<Policies...>());
    } else if (item < table_items() + gain_items()) {
      if constexpr (turns_by_tile) {
        with_rotation(problem_.policies,
                      [&](const auto& policy) { gains().fill(item - table_items(), policy); });
      }
    } else {
      prepare_keys(item - table_items() - gain_items(), slot);
    }
  }

 private:
  static constexpr bool rotates = any_rotation<Policies...>;
  static constexpr bool turns_by_tile = turns_between_origins<Policies...>;
  static constexpr bool binds_by_batch = (binds_batch<Policies> || ... || false);
  static constexpr bool has_tables = (tabulates_bias<Policies> || ... || false);

  // Tiles in one item: few enough that the keys of a single head occupy many threads.
  static constexpr index tiles_per_item = 4;

  const attention_shape& shape() const { return problem_.shape; }

  index table_items() const { return has_tables ? shape().query_heads : 0; }
  index gain_items() const {
    if constexpr (turns_by_tile) return gains().count;
    return 0;
  }
  index items_per_head() const {
    return ceil_div(tiling().last() - tiling().first() + 1, tiles_per_item);
  }
  index key_items() const {
    const bool any = shape().key_length > 0 && (rotates || uses_bound());
    return any ? shape().batch * shape().key_heads * items_per_head() : 0;
  }

  /// Given positions have no order by which a mask could narrow them.
  distance_range visible_distances_of([[maybe_unused]] index head) const {
    if constexpr (any_given_positions<Policies...>) {
      return all_distances(problem_.policies, shape(), problem_.position);
    } else {
      distance_range visible;
      for (index batch = 0; batch < (binds_by_batch ? shape().batch : 1); ++batch) {
        visible = hull(visible, visible_distances(bind_all(problem_.policies, batch, head), shape(),
                                                  problem_.position));
      }
      return visible;
    }
  }

  template <std::size_t... I>
  void fill_tables(index head, std::index_sequence<I...>) const {
    const distance_range visible = visible_distances_of(head);
    [[maybe_unused]] const auto fill =
        [&]<std::size_t At>(std::integral_constant<std::size_t, At>) {
          const auto& policy = std::get<At>(problem_.policies);
          if constexpr (tabulates_bias<std::decay_t<decltype(policy)>>) {
            scratch_.table(At, head) = fill_bias_table(
                policy, head, visible, geometry<Isa>::group_rows, scratch_.table_values(At, head));
          }
        };
    (fill(std::integral_constant<std::size_t, I>()), ...);
  }

  void prepare_keys(index item, index slot) const {
    const index first = tiling().first() + item % items_per_head() * tiles_per_item;
    const index last = std::min(first + tiles_per_item - 1, tiling().last());
    const index key_head = item / items_per_head() % shape().key_heads;
    const index batch = item / items_per_head() / shape().key_heads;
    const prefill_slot<Isa> memory = scratch_.slot(slot);
    const strided_rows<Isa, Key> stored(problem_.k, batch, key_head);
    for (index t = first; t <= last; ++t) {
      if constexpr (rotates) {
        float* const turned = scratch_.turned_keys(batch, key_head);
        turn_keys(tiling().rows(t), batch, stored, turned, memory);
        measure(t, batch, key_head, packed_rows{turned, shape().head_dim}, memory);
      } else {
        measure(t, batch, key_head, stored, memory);
      }
    }
  }

  void turn_keys(const key_range& range, [[maybe_unused]] index batch,
                 const strided_rows<Isa, Key>& stored, float* turned,
                 const prefill_slot<Isa>& memory) const {
    const auto turn_all = [&](const auto& source) {
      for (index row = range.first; row < range.last; ++row) {
        source.load(row, turned + row * shape().head_dim);
      }
    };
    with_rotation(problem_.policies, [&](const auto& policy) {
      using source = strided_rows<Isa, Key>;
      if constexpr (turns_by_tile) {
        const rotation_rows rotations = policy.rotations();
        turn_all(turned_rows<Isa, source>{stored, rotations, rotations.keys,
                                          problem_.position.key_offset, shape().key_length,
                                          shape().head_dim, memory.stored_row});
      } else {
        const auto position = row_positions(problem_.policies, problem_.position, batch);
        const auto of_key = [&](index row, index axis) { return position.key(row, axis); };
        turn_all(given_rotation<Isa, source, std::decay_t<decltype(policy)>, decltype(of_key)>(
            stored, policy, of_key, shape().head_dim, memory.stored_row, memory.turns_of_row));
      }
    });
  }

  template <row_source Rows>
  void measure(index tile, index batch, index key_head, const Rows& rows,
               const prefill_slot<Isa>& memory) const {
    if (!uses_bound()) return;
    const key_range range = tiling().rows(tile);
    scratch_.key_norms(batch, key_head)[tile - tiling().first()] =
        largest_norm(rows, range.first, range.last, shape().head_dim, memory.row_buffer);
  }

  const problem_type& problem_;
  const scratch_type& scratch_;
};

}  // namespace relpos::inline RELPOS_ABI
