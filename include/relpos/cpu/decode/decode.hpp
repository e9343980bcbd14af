#pragma once
// The fused attention of few queries, bound by reading keys and values. One work item is some
// chunks of the keys of one head, with a block of query rows that share them:
//
//   for each tile:
//     S = q.k . softcap . bias . mask . online softmax . O = rescale O + PV
//   after each chunk: store maximum, sum and O of each row, to be merged (merge.hpp)
//
// Tiles, chunks and vectors begin at multiples of their sizes in absolute position, so a row's bits
// depend only on its own query, keys and positions. If queries select keys, the rows of keys are
// places of a query's list: tiles and chunks count places, and the list's rows are read where they
// lie.

#include <algorithm>
#include <limits>
#include <type_traits>
#include <utility>

#include "relpos/cpu/decode/add_and_score.hpp"
#include "relpos/cpu/decode/kv_rows.hpp"
#include "relpos/cpu/decode/micro_kernel.hpp"
#include "relpos/cpu/decode/query_rows.hpp"
#include "relpos/cpu/lowered_head.hpp"
#include "relpos/cpu/prefill/query_group.hpp"
#include "relpos/cpu/work_plan.hpp"
#include "relpos/rows/any_rows.hpp"
#include "relpos/rows/rotation.hpp"
#include "relpos/simd/exp2.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

/// One work item of the plan: chunks [first, last) of a key head, for one block of query rows.
struct decode_item {
  index_t key_head;
  index_t block;  // of query rows
  index_t first;  // chunk
  index_t last;

  static decode_item of(const work_plan& plan, const decode_geometry& geometry, index_t item) {
    const index_t chunks = plan.chunks_of_item();
    const index_t items = geometry.items_of_block(chunks);
    const index_t first = item / geometry.row_blocks % items * chunks;
    return {item / geometry.row_blocks / items, item % geometry.row_blocks, first,
            std::min(first + chunks, geometry.chunks)};
  }
};

/// Decode of one key head. `Key` and `Value` are the types of the stored rows; copies are floats.
template <class Isa, class Key, class Value>
class decode {
 public:
  decode(const lowered_head<Isa>& head, const decoded_sequence& sequence,
         const chunk_states& states, const decode_workspace<Isa>& memory)
      : head_(head), sequence_(sequence), states_(states), memory_(memory) {}

  void attend(const decode_item& item, const any_rows<Key>& keys,
              const any_rows<Value>& values) const;

 private:
  using real = float_pack<Isa>;
  using key_rows = decode_kv_rows<Isa, Key>;
  using value_rows = decode_kv_rows<Isa, Value>;
  using query_rows = decode_query_rows;
  static constexpr index_t most_rows = decode_geometry::rows;
  static constexpr index_t tile_keys = decode_geometry::tile_keys;

  const attention_shape& shape() const { return head_.shape; }
  const decode_geometry& geometry() const { return sequence_.geometry; }

  /// Packs the queries, times the scales of the channels of keys.
  void pack(const query_rows& rows, const key_rows& keys) const {
    const index_t width = memory_.padded(shape().head_dim);
    rows.for_each_head([&](index_t first, index_t count) {
      const index_t head = rows.head[first];
      const float factor = head_.factors_of(head).query;
      const float* queries[most_rows];
      head_.find_queries(head, rows.row[first], count, memory_.key_buffer, queries);
      for (index_t i = 0; i < count; ++i) {
        float* const out = memory_.packed + (first + i) * width;
        for (index_t c = 0; c < shape().head_dim; ++c) out[c] = queries[i][c] * factor;
        if (!head_.rotates_by_tile) keys.scale_channels(out);
        std::fill(out + shape().head_dim, out + width, 0.0f);
      }
    });
  }

  /// Resets the state of the rows, to begin a chunk.
  void empty(query_rows& rows) const {
    const index_t width = memory_.padded(shape().value_dim);
    std::fill(memory_.outputs, memory_.outputs + rows.count * width, 0.0f);
    std::fill(memory_.sums, memory_.sums + rows.count * lanes<Isa>, 0.0f);
    std::fill(rows.maximum, rows.maximum + rows.count, no_maximum);
  }

  /// Attends to the key rows `seen`, tile by tile. The tiles begin a multiple of tile_keys rows
  /// after `begin`. The keys of a tile are scored while the values of the tile before it are added.
  void attend_tiles(query_rows& rows, const key_range& seen, index_t begin, key_rows& keys,
                    value_rows& values) const {
    const auto lanes_at = [&](index_t tile) {
      return key_lanes::of<Isa>(tile, intersect(seen, {tile, tile + tile_keys}));
    };
    // The steps double: a mask may hide far more than it shows.
    const auto not_hidden_from = [&](index_t tile) {
      if (!rows.selected) tile = head_.resident.beyond_gap(tile, tile_keys);
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
    key_lanes current = lanes_at(first);
    key_lanes next = lanes_at(not_hidden_from(first + tile_keys));
    find(0, current);
    find(1, next);
    float* scores = memory_.scores;
    float* next_scores = memory_.next_scores;
    score(rows, keys, 0, current, values.ahead(0, current), scores);
    for (index_t i = 0;; ++i) {
      float rescale[most_rows];
      tile_class classes[most_rows];
      head_.finish_scores(rows, current, scores, classes);
      bool any_partial = false;
      for (index_t r = 0; r < rows.count; ++r) {
        any_partial = any_partial || classes[r] != tile_class::full;
        rescale[r] = weigh(rows, r, current, classes[r], scores + r * tile_keys);
        values.scale_weights(current, scores + r * tile_keys);
      }
      const bool is_last = next.first == next.last;
      if (is_last) {
        accumulate(rows, values, i, current, {}, rescale, any_partial, scores);
        leave(rows, values, geometry().chunk_of(current.first_row));
        return;
      }
      const key_lanes following = lanes_at(not_hidden_from(next.first_row + tile_keys));
      find(i + 2, following);
      if (!any_partial && can_add_and_score(rows, current, next, keys, values)) {
        add_and_score_next(rows, keys, values, i, next, rescale[0], scores, next_scores);
      } else {
        // One query with few registers asks for rows further in the run that it reads, which keeps
        // more of the memory busy than asking for the tile that is read next.
        const bool near = !has_many_registers<Isa> && rows.count == 1 && values.runs_into_next(i) &&
                          keys.runs_into_next(i + 1);
        accumulate(rows, values, i, current,
                   near ? values.further_in_run(i) : keys.ahead(i + 2, following), rescale,
                   any_partial, scores);
        score(rows, keys, i + 1, next,
              near ? keys.further_in_run(i + 1) : values.ahead(i + 1, next), next_scores);
      }
      const index_t chunk = geometry().chunk_of(current.first_row);
      if (chunk != geometry().chunk_of(next.first_row)) {
        leave(rows, values, chunk);
        empty(rows);
      }
      std::swap(scores, next_scores);
      current = next;
      next = following;
    }
  }

  static constexpr bool adds_and_scores_row_by_row =
      has_many_registers<Isa> && std::is_same_v<Key, Value>;
  static constexpr bool adds_and_scores_in_turns = takes_turns<Isa, Key, Value>;

  bool can_add_and_score(const query_rows& rows, const key_lanes& current, const key_lanes& next,
                         const key_rows& keys, const value_rows& values) const {
    const bool whole = current.first == 0 && current.last == tile_keys && next.first == 0 &&
                       next.last == tile_keys;
    if (rows.count != 1 || !whole || !keys.are_in_place() || !values.are_in_place() ||
        may_rotate_within_tiles(rows)) {
      return false;
    }
    if constexpr (adds_and_scores_row_by_row) {
      const index_t vectors = keys.width() / lanes<Isa>;
      return keys.width() == values.width() && (vectors == 4 || vectors == 8);
    } else {
      return adds_and_scores_in_turns && !rows.selected;  // a list's rows are no streams
    }
  }

  void add_and_score_next(query_rows& rows, const key_rows& keys, const value_rows& values,
                          index_t i, const key_lanes& next, float rescale, const float* weights,
                          float* next_scores) const {
    rotate_queries(rows, keys, next.first_row);
    if constexpr (adds_and_scores_row_by_row) {
      const auto value_stream = values.stream(i);
      const auto key_stream = keys.stream(i + 1);
      const auto add = [&]<int Vectors, bool OneRun>(std::integral_constant<int, Vectors>,
                                                     std::bool_constant<OneRun>) {
        add_and_score<Isa, Vectors, OneRun>(value_stream, weights, rescale, memory_.outputs,
                                            key_stream, memory_.queries, next_scores);
      };
      const auto add_some = [&](auto vectors) {
        // A row has whole elements, which may hold more channels than so many vectors.
        if constexpr (vectors * lanes<Isa> % channels_of_element<Key> == 0) {
          if (value_stream.is_one_run && key_stream.is_one_run) {
            add(vectors, std::true_type());
          } else {
            add(vectors, std::false_type());
          }
        }
      };
      if (keys.width() == 4 * lanes<Isa>) {
        add_some(std::integral_constant<int, 4>());
      } else {
        add_some(std::integral_constant<int, 8>());
      }
    } else if constexpr (adds_and_scores_in_turns) {
      add_and_score_in_turns<Isa, Key, Value>(values.rows(i), weights, rescale, values.width(),
                                              memory_.outputs, keys.rows(i + 1), memory_.queries,
                                              keys.width(), next_scores);
    }
    keys.scale_scores(next, next_scores);
  }

  /// Whether element masks hide the whole range from all rows.
  bool hidden_from_all(const query_rows& rows, const key_range& range) const {
    if (!head_.masks_elements || range.last <= range.first) return false;
    const key_range stored = rows.selected ? rows.selected->hull(range) : range;
    for (index_t i = 0; i < rows.count; ++i) {
      const tile_class kept = head_.classify_elements_of(rows.head[i], rows.row[i], stored);
      if (kept != tile_class::skip) return false;
    }
    return true;
  }

  /// Whether a tile may have keys of several blocks of positions.
  bool may_rotate_within_tiles(const query_rows& rows) const {
    return head_.rotates_by_tile && rows.selected;
  }

  /// Rotates the queries to the block of positions that holds the tile's keys.
  void rotate_queries(query_rows& rows, const key_rows& keys, index_t tile) const {
    if (!head_.rotates_by_tile) return;
    rotate_queries(rows, keys, rotation_rows::block_of(tile + head_.position.key_offset),
                   head_.resident.piece_of(tile + tile_keys));
  }
  void rotate_queries(query_rows& rows, const key_rows& keys, index_t key_block,
                      index_t piece) const {
    if (rows.key_block == key_block) return;
    rows.key_block = key_block;
    const block_rotors rotors = head_.rotors(piece);
    const index_t width = memory_.padded(shape().head_dim);
    for (index_t i = 0; i < rows.count; ++i) {
      const index_t q_pos = rows.row[i] + head_.position.query_offset;
      rotate_row<Isa>(memory_.packed + i * width,
                      rotors.between(rotation_rows::block_of(q_pos), key_block), rotors.channels,
                      width, memory_.queries + i * width);
      keys.scale_channels(memory_.queries + i * width);
    }
  }

  void score(query_rows& rows, const key_rows& keys, index_t i, const key_lanes& lanes,
             const rows_ahead& ahead, float* scores) const {
    if (may_rotate_within_tiles(rows)) {
      score_by_blocks(rows, keys, i, lanes, ahead, scores);
    } else {
      rotate_queries(rows, keys, lanes.first_row);
      score_lanes(rows, keys, i, lanes, ahead, scores);
    }
    if (!keys.are_scaled()) return;
    for (index_t r = 0; r < rows.count; ++r) keys.scale_scores(lanes, scores + r * tile_keys);
  }

  void score_lanes(const query_rows& rows, const key_rows& keys, index_t i, const key_lanes& lanes,
                   const rows_ahead& ahead, float* scores) const {
    keys.read(i, lanes, memory_.key_buffer, [&](const auto* const* row, index_t width) {
      score_all_rows<Isa>(row, lanes.first, lanes.last, memory_.queries, width, rows.count, ahead,
                          scores);
    });
  }

  /// Scores the selected keys of a tile block of positions by block. A vector with keys of two
  /// blocks is scored for both; the lanes that belong to the first are kept.
  void score_by_blocks(query_rows& rows, const key_rows& keys, index_t i, const key_lanes& lanes,
                       const rows_ahead& ahead, float* scores) const {
    const auto block_of = [&](index_t place) {
      return rotation_rows::block_of(rows.selected->row(place) + head_.position.key_offset);
    };
    for (index_t place = lanes.rows.first; place < lanes.rows.last;) {
      const index_t block = block_of(place);
      index_t end = place + 1;
      while (end < lanes.rows.last && block_of(end) == block) ++end;
      rotate_queries(rows, keys, block, 0);
      const key_lanes part = key_lanes::of<Isa>(lanes.first_row, {place, end});
      const index_t kept = place - lanes.first_row - part.first;
      float scored[most_rows][relpos::lanes<Isa>];
      for (index_t r = 0; r < rows.count; ++r) {
        const float* const vector = scores + r * tile_keys + part.first;
        std::copy(vector, vector + kept, scored[r]);
      }
      score_lanes(rows, keys, i, part, place == lanes.rows.first ? ahead : rows_ahead(), scores);
      for (index_t r = 0; r < rows.count; ++r) {
        std::copy(scored[r], scored[r] + kept, scores + r * tile_keys + part.first);
      }
      place = end;
    }
  }

  /// Replaces the scores of one row by weights, and returns the factor of the row's earlier sums.
  float weigh(query_rows& rows, index_t i, const key_lanes& keys, tile_class seen,
              float* scores) const {
    if (seen == tile_class::skip) {
      std::fill(scores + keys.first, scores + keys.last, 0.0f);
      return 1.0f;
    }

    real largest(rows.maximum[i]);
    for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
      largest = max(real::load(scores + lane), largest);
    }
    float lane_values[lanes<Isa>];
    largest.store(lane_values);
    const float old_maximum = rows.maximum[i];
    const float maximum = *std::max_element(lane_values, lane_values + lanes<Isa>);
    rows.maximum[i] = maximum;
    const real rescale = exp2<Isa>(real(old_maximum - maximum));
    real sum = rescale * real::load(memory_.sums + i * lanes<Isa>);
    for (index_t lane = keys.first; lane < keys.last; lane += lanes<Isa>) {
      const real weight = exp2<Isa>(real::load(scores + lane) - real(maximum));
      sum = sum + weight;
      weight.store(scores + lane);
    }
    sum.store(memory_.sums + i * lanes<Isa>);
    rescale.store(lane_values);
    return lane_values[0];
  }

  void accumulate(const query_rows& rows, const value_rows& values, index_t i,
                  const key_lanes& lanes, const rows_ahead& ahead, const float* rescale,
                  bool any_partial, const float* weights) const {
    const index_t first = lanes.rows.first - lanes.first_row;
    const index_t last = lanes.rows.last - lanes.first_row;
    values.read(i, lanes, memory_.value_buffer, [&](const auto* const* row, index_t width) {
      if (any_partial && !all_stored_finite<Isa>(row, first, last, width)) {
        add_all_values<Isa, true>(row, first, last, weights, rescale, rows.count, width, ahead,
                                  memory_.outputs);
      } else {
        add_all_values<Isa, false>(row, first, last, weights, rescale, rows.count, width, ahead,
                                   memory_.outputs);
      }
    });
  }

  /// Stores the states of the rows after a chunk.
  void leave(const query_rows& rows, const value_rows& values, index_t chunk) const {
    for (index_t i = 0; i < rows.count; ++i) {
      const chunk_state state = state_of(rows, i, chunk);
      *state.maximum = rows.maximum[i];
      for (int lane = 0; lane < lanes<Isa>; ++lane) {
        *state.sum += memory_.sums[i * lanes<Isa> + lane];
      }
      const float* const outputs = memory_.outputs + i * memory_.padded(shape().value_dim);
      std::copy(outputs, outputs + shape().value_dim, state.outputs);
      values.scale_channels(state.outputs);
    }
  }

  chunk_state state_of(const query_rows& rows, index_t i, index_t chunk) const {
    return states_.at(sequence_.state_of(shape(), rows.head[i], rows.row[i], chunk));
  }

  const lowered_head<Isa>& head_;
  const decoded_sequence& sequence_;
  const chunk_states& states_;
  const decode_workspace<Isa>& memory_;
};

// Defined outside the class, and so not inline: relpos::kernels contains a compiled copy.
template <class Isa, class Key, class Value>
void decode<Isa, Key, Value>::attend(const decode_item& item, const any_rows<Key>& keys,
                                     const any_rows<Value>& values) const {
  query_rows rows = query_rows::of(head_, geometry(), item.block);
  for (index_t chunk = item.first; chunk < item.last; ++chunk) {
    for (index_t i = 0; i < rows.count; ++i) *state_of(rows, i, chunk).sum = 0.0f;
  }
  const index_t begin = geometry().row_of(item.first);
  const key_range seen = intersect(rows.seen, {begin, geometry().row_of(item.last)});
  if (seen.last <= seen.first) return;
  key_rows stored_keys(keys, rows.selected, shape().head_dim, memory_.key_rows);
  value_rows stored_values(values, rows.selected, shape().value_dim, memory_.value_rows);
  pack(rows, stored_keys);
  empty(rows);
  attend_tiles(rows, seen, begin, stored_keys, stored_values);
}

}  // namespace relpos::inline RELPOS_ABI
