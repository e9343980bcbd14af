#pragma once
// The data that a call computes once, before any query: the plan, bias tables, rotors between
// blocks, key norms, and rotated keys, if workers do not rotate them (rotated_keys.hpp). The items
// depend on nothing but the call, and run in any order.

#include <tuple>
#include <utility>

#include "relpos/call/bias_table.hpp"
#include "relpos/call/problem.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/cpu/call_workspace.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/score_bound.hpp"
#include "relpos/cpu/rotated_keys.hpp"
#include "relpos/rows/strided_rows.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class preparation;

template <class Isa, class Out, class Query, class Source, class... Policies>
class preparation<Isa, attention_problem<Out, Query, Source, Policies...>> {
 public:
  using problem_type = attention_problem<Out, Query, Source, Policies...>;
  using workspace_type = call_workspace<Isa, problem_type>;
  using set_place = typename workspace_type::set_place;

  preparation(const problem_type& problem, const workspace_type& workspace)
      : problem_(problem), workspace_(workspace) {}

  index_t count() const { return 1 + table_items() + rotor_items() + key_items(); }

  void run(index_t item, index_t worker) const {
    if (item == 0) {
      workspace_.plan().template fill<Isa>(problem_, workspace_.workers(),
                                           workspace_.rotates_by_worker());
    } else if (item < 1 + table_items()) {
      fill_tables(workspace_.sets().find((item - 1) / shape().query_heads),
                  (item - 1) % shape().query_heads, std::index_sequence_for<Policies...>());
    } else if (item < 1 + table_items() + rotor_items()) {
      fill_rotors(item - 1 - table_items());
    } else {
      prepare_keys(item - 1 - table_items() - rotor_items(), worker);
    }
  }

 private:
  static constexpr bool by_tile = workspace_type::by_tile;
  static constexpr bool rotates_keys = workspace_type::rotates_keys;
  static constexpr bool binds_by_batch = (binds_batch<Policies> || ... || false);
  static constexpr bool has_tables = (has_bias_table<Policies> || ... || false);

  // Tiles per item: few enough that the keys of a single head occupy many threads.
  static constexpr index_t tiles_per_item = 4;

  const attention_shape& shape() const { return problem_.shape; }

  index_t table_items() const {
    return has_tables ? workspace_.sets().count() * shape().query_heads : 0;
  }
  index_t rotor_items() const {
    index_t count = 0;
    if constexpr (by_tile) {
      for (index_t set = 0; set < workspace_.sets().count(); ++set) count += rotors(set).count;
    }
    return count;
  }
  index_t items_per_head() const { return ceil_div(workspace_.tiles_of_head(), tiles_per_item); }
  index_t key_items() const {
    bool any = rotates_keys && !workspace_.rotates_by_worker();
    if constexpr (problem_type::can_bound) {
      for (index_t sequence = 0; sequence < problem_.different_sequences() && !any; ++sequence) {
        any = uses_bound(problem_.shape_of(sequence));
      }
    }
    return any && shape().key_length > 0 ? shape().batch * shape().key_heads * items_per_head() : 0;
  }

  /// The visible distances of one set, as a bias reads them. With explicit positions, all
  /// distances: they have no order by which a mask could narrow them.
  template <class Bias>
  distance_range visible_distances_of([[maybe_unused]] const Bias& bias,
                                      [[maybe_unused]] const set_place& set,
                                      [[maybe_unused]] index_t head) const {
    distance_range visible;
    if constexpr (any_explicit_positions<Policies...>) {
      for (index_t sequence = 0; sequence < shape().batch; ++sequence) {
        const attention_shape sequence_shape = problem_.shape_of(sequence);
        const auto position =
            positions_for(bias, row_positions(problem_.policies, positions{}, sequence));
        visible = hull(visible, distances_between(position, 0, sequence_shape.query_length, 0,
                                                  sequence_shape.key_length));
      }
    } else {
      const index_t sequences = binds_by_batch ? shape().batch : problem_.different_sequences();
      const index_t first = set.is_shared ? 0 : set.number;
      const index_t last = set.is_shared ? sequences : set.number + 1;
      for (index_t sequence = first; sequence < last; ++sequence) {
        visible = hull(
            visible, visible_distances(bind_all(problem_.policies, sequence, head),
                                       problem_.shape_of(sequence), problem_.position_of(sequence),
                                       problem_.resident_of(sequence).piece(set.piece)));
      }
    }
    return visible;
  }

  template <std::size_t... I>
  void fill_tables(const set_place& set, index_t head, std::index_sequence<I...>) const {
    [[maybe_unused]] const auto fill =
        [&]<std::size_t At>(std::integral_constant<std::size_t, At>) {
          const auto& policy = std::get<At>(problem_.policies);
          if constexpr (has_bias_table<std::decay_t<decltype(policy)>>) {
            workspace_.table(At, set, head) =
                fill_bias_table(policy, head, visible_distances_of(policy, set, head),
                                geometry<Isa>::group_rows, workspace_.table_values(At, set, head));
          }
        };
    (fill(std::integral_constant<std::size_t, I>()), ...);
  }

  block_rotors rotors(index_t set) const
    requires by_tile
  {
    return workspace_.rotors(problem_, workspace_.sets().find(set));
  }

  void fill_rotors([[maybe_unused]] index_t item) const {
    if constexpr (by_tile) {
      index_t set = 0;
      for (; item >= rotors(set).count; ++set) item -= rotors(set).count;
      with_rotation(problem_.policies, [&](const auto& policy) { rotors(set).fill(item, policy); });
    }
  }

  void prepare_keys(index_t item, index_t worker) const {
    const index_t key_head = item / items_per_head() % shape().key_heads;
    const index_t sequence = item / items_per_head() / shape().key_heads;
    const attention_shape sequence_shape = problem_.shape_of(sequence);
    if (sequence_shape.key_length == 0) return;
    const key_tiles<Isa> tiling{problem_.position_of(sequence).key_offset,
                                sequence_shape.key_length};
    const bool bounds = uses_bound(sequence_shape);
    if (!rotates_keys && !bounds) return;
    const prefill_workspace<Isa> memory = workspace_.prefill_workspace_of(worker);
    const index_t first = item % items_per_head() * tiles_per_item;
    for (index_t i = first; i < std::min(first + tiles_per_item, workspace_.tiles_of_head()); ++i) {
      const index_t piece = i < workspace_.tiles_of_piece(0) ? 0 : 1;
      const index_t tile = piece == 0 ? i : i - workspace_.tiles_of_piece(0);
      const key_range rows = problem_.resident_of(sequence).piece(piece);
      if (rows.last <= rows.first || tiling.of(rows.first) + tile > tiling.of(rows.last - 1)) {
        continue;
      }
      const key_range range = intersect(tiling.rows(tiling.of(rows.first) + tile), rows);
      float* const norm = bounds ? workspace_.key_norms(sequence, key_head, piece) + tile : nullptr;
      if constexpr (rotates_keys) {
        float* const rotated = workspace_.rotated_keys(problem_.source, sequence, key_head, worker);
        rotate_keys<Isa>(problem_, sequence, key_head, range, memory, rotated);
        if (bounds) *norm = norm_of(range, packed_rows{rotated, sequence_shape.head_dim}, memory);
      } else {
        *norm = norm_of(range, problem_.source.template keys<Isa>(sequence, key_head), memory);
      }
    }
  }

  template <row_source Rows>
  float norm_of(const key_range& range, const Rows& rows,
                const prefill_workspace<Isa>& memory) const {
    return largest_norm(rows, range.first, range.last, shape().head_dim, memory.tile.row);
  }

  bool uses_bound(const attention_shape& sequence) const {
    return problem_.bounds_scores(sequence, geometry<Isa>::group_rows, geometry<Isa>::tile_keys);
  }

  const problem_type& problem_;
  const workspace_type& workspace_;
};

}  // namespace relpos::inline RELPOS_ABI
