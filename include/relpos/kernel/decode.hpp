#pragma once
// The fused attention of few queries, bound by reading keys and values. One work item is some chunks of the keys of one
// head, with all query rows that share them:
//
//   for each tile:
//     S = q.k . softcap . bias . mask . online softmax . O = rescale O + PV
//   after each chunk: leave maximum, sum and O of each row, to be merged (decode_merge.hpp)
//
// Tiles and chunks begin at multiples of their sizes in absolute position, lanes too: a row's bits depend on its own
// query, keys and positions alone.

#include <algorithm>
#include <limits>
#include <tuple>
#include <type_traits>
#include <utility>

#include "relpos/core/row_positions.hpp"
#include "relpos/kernel/call_scratch.hpp"
#include "relpos/kernel/decode_products.hpp"
#include "relpos/kernel/decode_query_rows.hpp"
#include "relpos/kernel/decode_rows.hpp"
#include "relpos/kernel/decode_stages.hpp"
#include "relpos/kernel/prepared.hpp"
#include "relpos/kernel/problem.hpp"
#include "relpos/simd/exp2.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Problem>
class decode;

/// The chunks of one sequence.
template <class Isa, class Out, class Query, class Store, class... Policies>
class decode<Isa, attention_problem<Out, Query, Store, Policies...>> {
 public:
  using problem_type = attention_problem<Out, Query, Store, Policies...>;
  using scratch_type = call_scratch<Isa, problem_type>;

  /// `problem` is of one sequence.
  decode(const problem_type& problem, const scratch_type& scratch)
      : problem_(problem),
        scratch_(scratch),
        sequence_(scratch.plan().decoded(problem.sequence)),
        resident_(problem.resident_of(problem.sequence)) {}

  void attend(index_t item, index_t slot) const {
    const index_t chunks = scratch_.plan().chunks_of_item();
    const index_t items = geometry().items_of_block(chunks);
    const index_t block = item % geometry().row_blocks;
    const index_t first = item / geometry().row_blocks % items * chunks;
    const index_t key_head = item / geometry().row_blocks / items;
    attend_chunks(key_head, block, first, std::min(first + chunks, geometry().chunks),
                  scratch_.slot_of_decode(slot));
  }

 private:
  using real = float_pack<Isa>;
  using bound_policies = std::tuple<bound_policy<Policies>...>;
  static constexpr bool by_tile = scratch_type::by_tile;
  using query_rows = decode_query_rows;
  static constexpr index_t most_rows = decode_geometry::rows;
  static constexpr index_t tile_keys = decode_geometry::tile_keys;

  const attention_shape& shape() const { return problem_.shape; }
  const decode_geometry& geometry() const { return sequence_.geometry; }

  /// Chunks [first, last) of the sequence.
  void attend_chunks(index_t key_head, index_t block, index_t first, index_t last,
                     const decode_slot<Isa>& memory) const {
    query_rows rows = query_rows::of(problem_, geometry(), key_head, block);
    for (index_t chunk = first; chunk < last; ++chunk) {
      for (index_t i = 0; i < rows.count; ++i) *state_of(rows, i, chunk).sum = 0.0f;
    }
    const index_t begin = geometry().row_of(first);
    const key_range keys = intersect(rows.seen, {begin, geometry().row_of(last)});
    if (keys.last <= keys.first) return;
    pack(rows, memory);
    empty(rows, memory);
    const auto key_rows = keys_of<Isa>(problem_, scratch_, key_head);
    const auto value_rows = problem_.store.template values<Isa>(problem_.sequence, key_head);
    decode_rows<Isa, decltype(key_rows)> of_keys(key_rows, shape().head_dim, memory.key_rows);
    decode_rows<Isa, decltype(value_rows)> of_values(value_rows, shape().value_dim,
                                                     memory.value_rows);
    attend_tiles(rows, keys, begin, of_keys, of_values, memory);
  }

  void pack(const query_rows& rows, const decode_slot<Isa>& memory) const {
    const index_t width = memory.padded(shape().head_dim);
    for (index_t i = 0; i < rows.count; ++i) {
      const score_factors factors = factors_of(rows.head[i]);
      float* const to = memory.packed + i * width;
      with_query_rows<Isa>(problem_, rows.head[i], memory, [&](const auto& source) {
        const float* const from = read_row(source, rows.row[i], memory.key_buffer);
        for (index_t c = 0; c < shape().head_dim; ++c) to[c] = from[c] * factors.query;
      });
      std::fill(to + shape().head_dim, to + width, 0.0f);
    }
  }

  /// Begins a chunk.
  void empty(query_rows& rows, const decode_slot<Isa>& memory) const {
    const index_t width = memory.padded(shape().value_dim);
    std::fill(memory.outputs, memory.outputs + rows.count * width, 0.0f);
    std::fill(memory.sums, memory.sums + rows.count * lanes<Isa>, 0.0f);
    std::fill(rows.maximum, rows.maximum + rows.count, no_maximum);
  }

  score_factors factors_of(index_t head) const {
    return score_factors(problem_.scale, problem_.softcap(),
                         softmax_temperature(problem_.policies, problem_.sequence, head));
  }

  /// Rows `seen`, tile by tile from the one at `begin` or behind it. The keys of a tile are scored while the values of
  /// the one before it are added.
  template <class Keys, class Values>
  void attend_tiles(query_rows& rows, const key_range& seen, index_t begin, Keys& keys,
                    Values& values, const decode_slot<Isa>& memory) const {
    const auto lanes_at = [&](index_t tile) {
      return key_lanes::of<Isa>(tile, intersect(seen, {tile, tile + tile_keys}));
    };
    // In steps that double: a mask may hide far more than it shows.
    const auto not_hidden_from = [&](index_t tile) {
      tile = resident_.beyond_gap(tile, tile_keys);
      for (index_t step = tile_keys; tile < seen.last;) {
        if (hidden_from_all(rows, intersect(seen, {tile, tile + step}))) {
          tile += step;
          step *= 2;
        } else if (step > tile_keys) {
          step = tile_keys;
        } else {
          break;
        }
      }
      return tile;
    };
    const auto find = [&](index_t i, const key_lanes& lanes) {
      keys.find(i, lanes);
      values.find(i, lanes);
    };
    const index_t first = not_hidden_from(begin + (seen.first - begin) / tile_keys * tile_keys);
    if (first >= seen.last) return;
    // The tile whose values are added, the next, and the one after it.
    key_lanes now = lanes_at(first);
    key_lanes next = lanes_at(not_hidden_from(first + tile_keys));
    find(0, now);
    find(1, next);
    float* scores = memory.scores;
    float* next_scores = memory.next_scores;
    score(rows, keys, 0, now, values.ahead(0, now), memory, scores);
    for (index_t i = 0;; ++i) {
      float rescale[most_rows];
      bool any_partial = false;
      for (index_t r = 0; r < rows.count; ++r) {
        rescale[r] = weigh(rows, r, now, memory, scores + r * tile_keys, any_partial);
        values.scale_weights(now, scores + r * tile_keys);
      }
      const bool is_last = next.first == next.last;
      if (is_last) {
        accumulate(rows, values, i, now, {}, rescale, any_partial, memory, scores);
        leave(rows, geometry().chunk_of(now.first_row), memory);
        return;
      }
      const key_lanes after = lanes_at(not_hidden_from(next.first_row + tile_keys));
      find(i + 2, after);
      if (!any_partial && can_add_and_score(rows, now, next, keys, values)) {
        add_and_score_next(rows, keys, values, i, next, rescale[0], memory, scores, next_scores);
      } else {
        accumulate(rows, values, i, now, keys.ahead(i + 2, after), rescale, any_partial, memory,
                   scores);
        score(rows, keys, i + 1, next, values.ahead(i + 1, next), memory, next_scores);
      }
      const index_t chunk = geometry().chunk_of(now.first_row);
      if (chunk != geometry().chunk_of(next.first_row)) {
        leave(rows, chunk, memory);
        empty(rows, memory);
      }
      std::swap(scores, next_scores);
      now = next;
      next = after;
    }
  }

  // With fewer registers the two products are in each other's way.
  template <class Keys, class Values>
  static constexpr bool adds_and_scores_together =
      lanes<Isa> == 16 && std::is_same_v<typename Values::stored, typename Keys::stored>;

  template <class Keys, class Values>
  static bool can_add_and_score(const query_rows& rows, const key_lanes& now, const key_lanes& next,
                                const Keys& keys, const Values& values) {
    if constexpr (!adds_and_scores_together<Keys, Values>) return false;
    const bool whole =
        now.first == 0 && now.last == tile_keys && next.first == 0 && next.last == tile_keys;
    const index_t vectors = keys.width() / lanes<Isa>;
    return rows.count == 1 && whole && keys.are_in_place() && values.are_in_place() &&
           keys.width() == values.width() && (vectors == 4 || vectors == 8);
  }

  template <class Keys, class Values>
  void add_and_score_next(query_rows& rows, const Keys& keys, const Values& values, index_t i,
                          const key_lanes& next, float rescale, const decode_slot<Isa>& memory,
                          const float* weights, float* next_scores) const {
    if constexpr (adds_and_scores_together<Keys, Values>) {
      turn_queries(rows, next.first_row, memory);
      const auto value_stream = values.stream(i);
      const auto key_stream = keys.stream(i + 1);
      const auto add = [&]<int Vectors, bool OneRun>(std::integral_constant<int, Vectors>,
                                                     std::bool_constant<OneRun>) {
        add_and_score<Isa, Vectors, OneRun>(value_stream, weights, rescale, memory.outputs,
                                            key_stream, memory.queries, next_scores);
      };
      const auto add_some = [&](auto vectors) {
        if (value_stream.is_one_run && key_stream.is_one_run) {
          add(vectors, std::true_type());
        } else {
          add(vectors, std::false_type());
        }
      };
      if (keys.width() == 4 * lanes<Isa>) {
        add_some(std::integral_constant<int, 4>());
      } else {
        add_some(std::integral_constant<int, 8>());
      }
      keys.scale_scores(next, next_scores);
    }
  }

  /// Masks that ask for elements hide the whole tile.
  bool hidden_from_all(const query_rows& rows, const key_range& range) const {
    if constexpr ((masks_elements<bound_policy<Policies>> || ... || false)) {
      for (index_t i = 0; i < rows.count; ++i) {
        const index_t q_pos = rows.row[i] + problem_.position.query_offset;
        const auto masks =
            element_masks(bind_all(problem_.policies, problem_.sequence, rows.head[i]));
        const tile_class kept = classify_row(masks, q_pos, problem_.position.key_offset, range);
        if (kept != tile_class::skip) return false;
      }
      return true;
    }
    return false;
  }

  /// From their origins to that of the tile's keys.
  void turn_queries([[maybe_unused]] query_rows& rows, [[maybe_unused]] index_t tile,
                    [[maybe_unused]] const decode_slot<Isa>& memory) const {
    if constexpr (by_tile) {
      const index_t key_origin = rotation_rows::origin(tile + problem_.position.key_offset);
      if (rows.key_origin == key_origin) return;
      rows.key_origin = key_origin;
      const index_t piece = resident_.piece_of(tile + tile_keys);
      const rotation_gains gains =
          scratch_.gains(problem_, scratch_.sets().of(problem_.sequence, piece));
      const index_t width = memory.padded(shape().head_dim);
      for (index_t i = 0; i < rows.count; ++i) {
        const index_t q_pos = rows.row[i] + problem_.position.query_offset;
        turn_row<Isa>(memory.packed + i * width,
                      gains.between(rotation_rows::origin(q_pos), key_origin), gains.pairs,
                      pair_layout::half_split, width, memory.queries + i * width);
      }
    }
  }

  template <class Keys>
  void score(query_rows& rows, const Keys& keys, index_t i, const key_lanes& lanes,
             const rows_ahead& ahead, const decode_slot<Isa>& memory, float* scores) const {
    turn_queries(rows, lanes.first_row, memory);
    keys.read(i, lanes, memory.key_buffer,
              [&](const auto* const* row, index_t width, auto is_scaled) {
                score_all_rows<Isa>(row, lanes.first, lanes.last, memory.queries, width, rows.count,
                                    ahead, scores);
                if constexpr (is_scaled) {
                  for (index_t r = 0; r < rows.count; ++r) {
                    keys.scale_scores(lanes, scores + r * tile_keys);
                  }
                }
              });
  }

  /// Scores of one row become weights; returns by what the sums before are to be rescaled.
  float weigh(query_rows& rows, index_t i, const key_lanes& keys, const decode_slot<Isa>& memory,
              float* scores, bool& any_partial) const {
    const index_t sequence = problem_.sequence;
    const index_t head = rows.head[i];
    const auto position = row_positions(problem_.policies, problem_.position, sequence);
    const bound_policies bound = bind_all(problem_.policies, sequence, head);
    const score_factors factors = factors_of(head);

    if (factors.softcap != 0.0f) cap_row<Isa>(factors.softcap, keys, scores);
    add_biases(head, rows.row[i], position, factors.bias, keys, scores,
               std::index_sequence_for<Policies...>());
    if constexpr (problem_type::has_row_factor) {
      const index_t visible = problem_.count_shown(rows.visible[i], rows.row[i]);
      scale_row<Isa>(logit_factor(bound, position.query(rows.row[i]), visible), keys, scores);
    }
    const index_t q_pos = rows.row[i] + problem_.position.query_offset;
    const tile_class seen = hide_row<Isa>(element_masks(bound), q_pos, rows.visible[i],
                                          problem_.position.key_offset, keys, scores);
    any_partial = any_partial || seen != tile_class::full;
    if (seen == tile_class::skip) {
      std::fill(scores + keys.first, scores + keys.last, 0.0f);
      return 1.0f;
    }

    real largest(rows.maximum[i]);
    for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
      largest = max(real::load(scores + lane), largest);
    }
    float of_lanes[lanes<Isa>];
    largest.store(of_lanes);
    const float before = rows.maximum[i];
    const float maximum = *std::max_element(of_lanes, of_lanes + lanes<Isa>);
    rows.maximum[i] = maximum;
    const real rescale = exp2<Isa>(real(before - maximum));
    real sum = rescale * real::load(memory.sums + i * lanes<Isa>);
    for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
      const real weight = exp2<Isa>(real::load(scores + lane) - real(maximum));
      sum = sum + weight;
      weight.store(scores + lane);
    }
    sum.store(memory.sums + i * lanes<Isa>);
    rescale.store(of_lanes);
    return of_lanes[0];
  }

  template <class RowPositions, std::size_t... I>
  void add_biases([[maybe_unused]] index_t head, [[maybe_unused]] index_t row,
                  [[maybe_unused]] const RowPositions& position, [[maybe_unused]] float factor,
                  [[maybe_unused]] const key_lanes& keys, [[maybe_unused]] float* scores,
                  std::index_sequence<I...>) const {
    [[maybe_unused]] const index_t piece = resident_.piece_of(keys.first_row + tile_keys);
    (add_row_bias<Isa>(std::get<I>(problem_.policies), table_of<I>(problem_, scratch_, head, piece),
                       problem_.sequence, head, row, position, factor, keys, scores),
     ...);
  }

  template <class Values>
  void accumulate(const query_rows& rows, const Values& values, index_t i, const key_lanes& lanes,
                  const rows_ahead& ahead, const float* rescale, bool any_partial,
                  const decode_slot<Isa>& memory, const float* weights) const {
    const index_t first = lanes.rows.first - lanes.first_row;
    const index_t last = lanes.rows.last - lanes.first_row;
    values.read(i, lanes, memory.value_buffer, [&](const auto* const* row, index_t width, auto) {
      if (any_partial && !all_stored_finite<Isa>(row, first, last, width)) {
        add_all_values<Isa, true>(row, first, last, weights, rescale, rows.count, width, ahead,
                                  memory.outputs);
      } else {
        add_all_values<Isa, false>(row, first, last, weights, rescale, rows.count, width, ahead,
                                   memory.outputs);
      }
    });
  }

  /// The states of the rows after a chunk.
  void leave(const query_rows& rows, index_t chunk, const decode_slot<Isa>& memory) const {
    for (index_t i = 0; i < rows.count; ++i) {
      const chunk_state to = state_of(rows, i, chunk);
      *to.maximum = rows.maximum[i];
      for (int lane = 0; lane < lanes<Isa>; ++lane) *to.sum += memory.sums[i * lanes<Isa> + lane];
      const float* const outputs = memory.outputs + i * memory.padded(shape().value_dim);
      std::copy(outputs, outputs + shape().value_dim, to.outputs);
    }
  }

  chunk_state state_of(const query_rows& rows, index_t i, index_t chunk) const {
    return scratch_.states().at(sequence_.state_of(shape(), rows.head[i], rows.row[i], chunk));
  }

  const problem_type& problem_;
  const scratch_type& scratch_;
  const decoded_sequence& sequence_;
  resident_rows resident_;
};

}  // namespace relpos::inline RELPOS_ABI
