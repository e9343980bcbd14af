#pragma once
// Attention of up to sixteen query rows that share a key head over one chunk of keys, on tensor
// cores. Unused rows of the tensor cores stand idle: reading keys and values is the limit. Each
// warp computes tiles of its own while its next tile arrives, and waits for no other warp until the
// end. There the states of the warps are joined in the order of the warps.

#include <limits>

#include "relpos/cuda/decode/shared_storage.hpp"
#include "relpos/cuda/fragment/copy_tile.hpp"
#include "relpos/cuda/fragment/output_fragment.hpp"
#include "relpos/cuda/fragment/score_stages.hpp"
#include "relpos/cuda/fragment/softmax_fragment.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"
#include "relpos/cuda/rotation/device_rotation.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Arch, int HeadDim, class Call>
class decode_block {
 public:
  using stored = typename Call::stored;
  using lowered = typename Call::lowered;
  using geometry = decode_block_geometry<stored, HeadDim>;
  using memory_type = decode_shared_storage<stored, HeadDim>;

  /// Attention of the rows from `first_row` on. The rows that share a key head are ordered by
  /// query, and for each query by query head of the group.
  RELPOS_DEVICE decode_block(Arch& arch, const Call& call, index_t sequence, index_t key_head,
                             index_t first_row, index_t chunk)
      : arch_(arch),
        call_(call),
        sequence_(call.sequences[sequence]),
        key_head_(key_head),
        first_row_(first_row),
        chunk_(chunk),
        lane_(arch.thread() % warp_lanes),
        warp_(arch.thread() / warp_lanes),
        memory_(*reinterpret_cast<memory_type*>(arch.shared())) {}

  RELPOS_DEVICE void run() {
    if constexpr (!lowered::rotates) begin_queries();
    arch_.commit();
    unroll<2>([&](auto r) RELPOS_LAMBDA { find_row(r); });
    arch_.sync_warp();
    const seen_tile first = seen_from(warp_);
    begin_tile(first.index, 0);
    arch_.template wait<1>();  // for the queries, not for the tile
    if constexpr (lowered::rotates) rotate_queries_to_chunk();
    arch_.sync();
    attend(first);
    join();
  }

 private:
  static constexpr int keys = geometry::keys;
  static constexpr int step = step_length<stored>;
  static constexpr int steps = HeadDim / step;

  struct row_place {
    index_t head;
    index_t row;  // of the sequence
  };
  RELPOS_DEVICE row_place place_of(int row) const {
    const index_t group_row = first_row_ + row;
    return {key_head_ * call_.group + group_row % call_.group, group_row / call_.group};
  }
  RELPOS_DEVICE int rows_that_exist() const {
    const index_t all = sequence_.queries.count * call_.group;
    return static_cast<int>(std::min<index_t>(all - first_row_, geometry::rows));
  }
  RELPOS_DEVICE index_t q_pos_of(index_t row) const {
    return row + sequence_.position.query_offset;
  }
  /// The key row of the sequence at which tile `tile` of the chunk begins.
  RELPOS_DEVICE index_t first_key_of(int tile) const {
    return (sequence_.first_chunk + chunk_) * decode_chunks::keys + tile * keys -
           sequence_.position.key_offset;
  }

  RELPOS_DEVICE void find_row(int r) {
    const int row = accumulator_place{lane_}.row(2 * r);
    const bool exists = row < rows_that_exist();
    const row_place place = place_of(exists ? row : 0);
    heads_.head[r] = &call_.head(sequence_.index, place.head);
    rows_.row[r] = static_cast<int>(exists ? place.row : sequence_.queries.count);
    if (lane_ % 4 != 0) return;
    key_span seen{0, 0};
    if (exists) seen = heads_.of(r).visible_to(place.row, sequence_.keys.count);
    memory_.visible[warp_][row] = seen;
  }

  RELPOS_DEVICE typename memory_type::query_rows queries() const { return {memory_.queries}; }
  RELPOS_DEVICE typename memory_type::key_rows keys_of(int stage) const {
    return {memory_.tiles[warp_][stage].keys};
  }
  RELPOS_DEVICE typename memory_type::key_rows values_of(int stage) const {
    return {memory_.tiles[warp_][stage].values};
  }
  RELPOS_DEVICE typename memory_type::weight_rows weights_of(int stage) const {
    return {memory_.tiles[warp_][stage].keys};
  }

  /// The address of a query row of the block, null if it does not exist.
  RELPOS_DEVICE const stored* query_at(int row) const {
    if (row >= rows_that_exist()) return nullptr;
    const device_rows& rows = sequence_.queries;
    const row_place place = place_of(row);
    return call_.q.address(rows.batch, place.head, rows.first + place.row, 0);
  }
  RELPOS_DEVICE void begin_queries() {
    queries().template copy_each<geometry::threads>(
        arch_, arch_.thread(), [&](int row) RELPOS_LAMBDA { return query_at(row); }, query_at(0));
  }
  /// All keys of a chunk lie in one block of positions.
  RELPOS_DEVICE void rotate_queries_to_chunk() {
    const index_t block = rotation_rows::block_of(first_key_of(0) + sequence_.position.key_offset);
    rotate_queries<HeadDim, geometry::warps>(
        arch_, queries(), call_.rotation, [&](int row) { return query_at(row); },
        [&](int row) { return q_pos_of(place_of(row).row); }, block);
  }

  /// The class that masks give a tile for all rows of the block.
  RELPOS_DEVICE tile_class classify(int tile) const {
    const index_t begin = first_key_of(tile);
    bool some = false;
    bool all = true;
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      if (rows_.row[r] >= sequence_.queries.count) return;
      const key_span visible = memory_.visible[warp_][accumulator_place{lane_}.row(2 * r)];
      if (visible.last <= begin || begin + keys <= visible.first || visible.last == visible.first) {
        all = false;
        return;
      }
      const bool whole = visible.first <= begin && begin + keys <= visible.last;
      tile_class is = whole ? tile_class::full : tile_class::partial;
      const index_t q_pos = q_pos_of(rows_.row[r]);
      const index_t first_key = std::max<index_t>(begin, 0) + sequence_.position.key_offset;
      const index_t last_key =
          std::min<index_t>(begin + keys, sequence_.keys.count) + sequence_.position.key_offset;
      is = both_of(is, classify_all(heads_.of(r).masks, {q_pos, q_pos + 1, first_key, last_key}));
      some = some || is != tile_class::skip;
      all = all && is == tile_class::full;
    });
    if (!arch_.any(some)) return tile_class::skip;
    return arch_.any(!all) ? tile_class::partial : tile_class::full;
  }

  struct seen_tile {
    int index;  // in the chunk; behind the last if there is none
    tile_class is;

    RELPOS_DEVICE bool exists() const { return index < geometry::tiles; }
  };
  /// The first tile of the warp from `tile` on that some row sees.
  RELPOS_DEVICE seen_tile seen_from(int tile) const {
    for (; tile < geometry::tiles; tile += geometry::warps) {
      const tile_class is = classify(tile);
      if (is != tile_class::skip) return {tile, is};
    }
    return {tile, tile_class::skip};
  }

  /// Begins to copy a tile, if it is one of the chunk.
  RELPOS_DEVICE void begin_tile(int tile, int stage) {
    if (tile < geometry::tiles) {
      const auto copy = [&](const view<const stored, 4>& source,
                            const typename memory_type::key_rows& destination) {
        copy_tile<warp_lanes>(arch_, lane_, source, sequence_.keys, key_head_, first_key_of(tile),
                              destination);
      };
      copy(call_.k, keys_of(stage));
      copy(call_.v, values_of(stage));
    }
    arch_.commit();
  }

  RELPOS_DEVICE void attend(seen_tile tile) {
    fragment<stored> held_queries[geometry::holds_queries ? steps : 1] = {};
    if constexpr (geometry::holds_queries) {
      unroll<steps>([&](auto i) RELPOS_LAMBDA { held_queries[i] = load_queries(i); });
    }
    const score_stages<Arch, Call, two_heads> stages(heads_, call_, sequence_, rows_,
                                                     memory_.visible[warp_], lane_);
    const row_factors factors = stages.factors();
    for (int stage = 0; tile.exists(); stage = 1 - stage) {
      const seen_tile next = seen_from(tile.index + geometry::warps);
      arch_.template wait<0>();
      arch_.sync_warp();  // the tile has arrived, and all lanes are done with the one before
      begin_tile(next.index, 1 - stage);
      if constexpr (lowered::rotates) {
        rotate_shared_keys(arch_, keys_of(stage), call_.rotation.rows,
                           first_key_of(tile.index) + sequence_.position.key_offset);
        arch_.sync_warp();
      }
      score_fragment<keys / 8> scores[1] = {};
      unroll<steps>([&](auto i) RELPOS_LAMBDA {
        const fragment<stored> query = [&] {
          if constexpr (geometry::holds_queries) {
            return held_queries[i];
          } else {
            return load_queries(i);
          }
        }();
        const left_factor<stored> factor[1] = {as_left_factor(arch_, query)};
        multiply_add_keys(arch_, scores, factor, keys_of(stage), i * step, lane_);
      });
      stages.apply(arch_, first_key_of(tile.index), tile.is, factors, scores[0]);
      float rescale[1][2];
      softmax_.add(arch_, scores[0], rescale[0]);
      if (tile.is == tile_class::partial) arch_.sync_warp();  // all lanes are done with the keys
      weighted_values<stored, HeadDim, 1>::add(arch_, outputs_, values_of(stage), tile.is, scores,
                                               rescale, weights_of(stage), lane_);
      tile = next;
    }
  }

  RELPOS_DEVICE fragment<stored> load_queries(int i) const {
    return arch_.load(
        static_cast<const stored*>(queries().template matrix_row<true>(0, i * step, lane_)));
  }

  /// Joins the states of the warps, and stores the state of the chunk.
  RELPOS_DEVICE void join() {
    arch_.template wait<0>();
    arch_.sync();
    auto& state = memory_.states[warp_];
    const accumulator_place place{lane_};
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      const float sum = softmax_fragment::row_sum(arch_, softmax_.sum[r]);
      const int row = place.row(2 * r);
      if (lane_ % 4 == 0) {
        state.maximum[row] = softmax_.maximum[r];
        state.sum[row] = sum;
      }
      unroll<HeadDim / 8>([&](auto tile) RELPOS_LAMBDA {
        unroll<2>([&](auto i) RELPOS_LAMBDA {
          state.outputs[row][tile * 8 + place.column(i)] = outputs_[0].tiles[tile][2 * r + i];
        });
      });
    });
    arch_.sync();
    for (int row = warp_; row < rows_that_exist(); row += geometry::warps) join_row(row);
  }

  /// Joins the states of one row. One warp does it.
  RELPOS_DEVICE void join_row(int row) const {
    const auto exp2 = [this](float x) { return arch_.exp2(x); };
    float top = no_maximum;
    for (const auto& part : memory_.states) top = relpos::max(part.maximum[row], top);
    float sum = 0.0f;
    float weights[geometry::warps];
    unroll<geometry::warps>([&](auto warp) RELPOS_LAMBDA {
      const auto& part = memory_.states[warp];
      weights[warp] = state_weight(exp2, part.maximum[row], part.sum[row], top);
      sum += weights[warp] * part.sum[row];
    });
    const row_place place = place_of(row);
    const chunk_state state = call_.states.at(sequence_.state_of(place.head, place.row, chunk_));
    for (int channel = lane_; channel < HeadDim; channel += warp_lanes) {
      float output = 0.0f;
      unroll<geometry::warps>([&](auto warp) RELPOS_LAMBDA {
        // The outputs of a warp may be NaN if all of its weights are zero.
        if (weights[warp] != 0.0f) {
          output += weights[warp] * memory_.states[warp].outputs[row][channel];
        }
      });
      state.outputs[channel] = output;
    }
    if (lane_ == 0) {
      *state.maximum = top;
      *state.sum = sum;
    }
  }

  Arch& arch_;
  const Call& call_;
  const device_sequence& sequence_;
  index_t key_head_;
  index_t first_row_;
  index_t chunk_;
  int lane_;
  int warp_;
  memory_type& memory_;
  two_heads<typename Call::head_type> heads_;
  lane_rows rows_;
  softmax_fragment softmax_;
  output_fragment<stored, HeadDim> outputs_[1];
};

}  // namespace relpos::inline RELPOS_ABI
