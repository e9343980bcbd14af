#pragma once
// The fused attention of one block of query rows of one head, on tensor cores (Dao, arXiv 2307.08691):
//
//   for each key tile that some row sees, from the last to the first:
//     S = QK . scale . softcap . bias . mask . online softmax . O = rescale O + PV
//
// Tiles begin at multiples of their size in absolute position. While the scores of a tile are computed its values arrive,
// and until its values are added the keys of the next tile, which have two buffers. A tile that the masks hide is not
// copied; a warp leaves out what its own rows do not see.

#include <limits>

#include "relpos/core/visible_rows.hpp"
#include "relpos/cuda/copy_tile.hpp"
#include "relpos/cuda/device_rotation.hpp"
#include "relpos/cuda/forward_call.hpp"
#include "relpos/cuda/forward_memory.hpp"
#include "relpos/cuda/output_fragment.hpp"
#include "relpos/cuda/score_fragment.hpp"
#include "relpos/cuda/softmax_fragment.hpp"
#include "relpos/cuda/statistics_fragment.hpp"
#include "relpos/cuda/tensor_product.hpp"
#include "relpos/cuda/tile_bound.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Machine, int HeadDim, class Call>
class forward_block {
 public:
  using stored = typename Call::stored;
  using geometry = forward_geometry<stored, HeadDim>;
  using memory_type = forward_memory<stored, HeadDim, Call::rotates>;

  /// Of the rows from `first_row` on of a sequence.
  RELPOS_DEVICE forward_block(Machine& machine, const Call& call, index sequence, index query_head,
                              index first_row)
      : machine_(machine),
        call_(call),
        sequence_(call.sequences[sequence]),
        head_(call.head(sequence, query_head)),
        query_head_(query_head),
        first_row_(first_row),
        lane_(machine.thread() % warp_lanes),
        warp_(machine.thread() / warp_lanes),
        memory_(*reinterpret_cast<memory_type*>(machine.shared())) {}

  RELPOS_DEVICE void run() {
    begin_queries();
    if (call_.statistics.any) {
      for (statistics_sums& each : memory_.statistics[machine_.thread()]) each = {};
    }
    find_visible();
    const visible_rows& seen = memory_.of_block;
    if (seen.some_last > seen.some_first) {
      const index last = tile_of(seen.some_first);
      const index tile = seen_tile(tile_of(seen.some_last - 1), false);
      if (tile >= last) attend(tile, last);
    }
    machine_.template wait<0>();
    finish();
  }

 private:
  static constexpr int keys = geometry::keys;
  static constexpr int key_tiles = keys / 8;         // of an mma
  static constexpr int channel_tiles = HeadDim / 8;  // of outputs
  static constexpr int step = step_length<stored>;   // of the sum over channels
  static constexpr int steps = HeadDim / step;

  RELPOS_DEVICE const positions& position() const { return sequence_.position; }
  RELPOS_DEVICE index key_head() const { return query_head_ / call_.group; }

  RELPOS_DEVICE void begin_queries() {
    const device_rows& rows = sequence_.queries;
    const auto* const base = call_.q.address(rows.batch, query_head_, rows.first + first_row_, 0);
    const auto exist = static_cast<int>(std::min<index>(rows.count - first_row_, geometry::rows));
    queries().template copy<geometry::threads>(machine_, machine_.thread(), base,
                                               call_.q.strides[2], 0, exist, base);
    machine_.commit();
  }

  /// Which keys rows see: of the lane, the warp and the block.
  RELPOS_DEVICE void find_visible() {
    const index count = sequence_.keys.count;
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      const int row = warp_ * geometry::warp_rows + accumulator_place{lane_}.row(2 * r);
      rows_.row[r] = static_cast<int>(first_row_) + row;
      rows_.visible[r] = {0, 0};
      if (rows_.row[r] < sequence_.queries.count) {
        const index q_pos = rows_.row[r] + position().query_offset;
        rows_.visible[r] = visible_key_rows(head_.bound, q_pos, position().key_offset, count);
      }
    });
    visible_rows seen = visible_rows::of_none(count);
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      if (rows_.row[r] < sequence_.queries.count) seen.add(rows_.visible[r]);
    });
    for (int other = 4; other < warp_lanes; other *= 2) {
      const auto of_other = [&](index x) { return machine_.shuffle_xor(x, other); };
      seen.add({of_other(seen.some_first), of_other(seen.some_last), of_other(seen.all_first),
                of_other(seen.all_last)});
    }
    // They are few registers less in shared memory, and are asked for once a tile.
    if (lane_ == 0) memory_.of_warp[warp_] = seen;
    machine_.sync();
    if (machine_.thread() == 0) {
      for (const visible_rows& each : memory_.of_warp) seen.add(each);
      memory_.of_block = seen;
    }
    machine_.sync();
  }

  // Tiles are counted in absolute position.
  RELPOS_DEVICE index tile_of(index row) const {
    return floor_div(row + position().key_offset, keys);
  }
  RELPOS_DEVICE index first_row_of(index tile) const { return tile * keys - position().key_offset; }

  /// What masks say of a tile and of rows [first, first + count) of the block.
  RELPOS_DEVICE tile_class classify(const visible_rows& rows, index tile, int first,
                                    int count) const {
    const index begin = first_row_of(tile);
    tile_class result = rows.classify(begin, begin + keys);
    if (result == tile_class::skip) return result;
    const index q_pos = first_row_ + first + position().query_offset;
    const index last =
        std::min<index>(q_pos + count, sequence_.queries.count + position().query_offset);
    const index first_key = std::max<index>(begin, 0) + position().key_offset;
    const index last_key =
        std::min<index>(begin + keys, sequence_.keys.count) + position().key_offset;
    const auto ask = [&](const auto& mask) {
      result = both_of(result, classify_elements(mask, {q_pos, last, first_key, last_key}));
    };
    std::apply([&](const auto&... each) { (ask(each), ...); }, head_.bound);
    return result;
  }
  /// The first tile from `tile` down that some row of the block sees; below the last where there is none. `bounded`: with a
  /// weight that is not zero.
  RELPOS_DEVICE index seen_tile(index tile, bool bounded) const {
    const index last = tile_of(memory_.of_block.some_first);
    while (tile >= last &&
           (classify(memory_.of_block, tile, 0, geometry::rows) == tile_class::skip ||
            (bounded && vanishes(tile)))) {
      --tile;
    }
    return tile;
  }

  /// Whether a tile adds nothing to any row of the block. All threads ask together.
  RELPOS_DEVICE bool vanishes([[maybe_unused]] index tile) const {
    if constexpr (Call::bounds) {
      const index sequence = &sequence_ - call_.sequences;
      const float key_norm = call_.key_norm(sequence, key_head(), tile - tile_of(0));
      const index first_key = tile * keys;
      bool adds = false;
      unroll<2>([&](auto r) RELPOS_LAMBDA {
        if (rows_.row[r] >= sequence_.queries.count) return;
        const index q_pos = rows_.row[r] + position().query_offset;
        const float product = memory_.query_norms[rows_.row[r] - first_row_] * key_norm *
                              relpos::abs(head_.factors.query);
        adds = adds || !row_vanishes<HeadDim>(head_, product, softmax_.maximum[r],
                                              {first_key - q_pos, first_key + keys - 1 - q_pos});
      });
      return !machine_.sync_any(adds);
    }
    return false;
  }

  /// Of the queries, which are there. Two threads for each row.
  RELPOS_DEVICE void measure_queries() {
    static_assert(geometry::threads == 2 * geometry::rows);
    const int row = machine_.thread() / 2;
    float square = 0.0f;
    for (int c = machine_.thread() % 2; c < HeadDim; c += 2) {
      const float x = static_cast<float>(*queries().at(row, c));
      square += x * x;
    }
    square += machine_.shuffle_xor(square, 1);
    memory_.query_norms[row] = machine_.sqrt(square);
  }

  RELPOS_DEVICE typename memory_type::query_rows queries() const { return {memory_.queries}; }
  /// As the product takes them.
  RELPOS_DEVICE typename memory_type::query_rows turned() const {
    return {Call::rotates ? memory_.turned : memory_.queries};
  }
  RELPOS_DEVICE typename memory_type::key_rows key_buffer(int stage) const {
    return {memory_.keys[stage]};
  }
  RELPOS_DEVICE typename memory_type::key_rows values() const { return {memory_.values}; }
  /// Room for the weights of the warp's rows: keys whose scores are known.
  RELPOS_DEVICE typename memory_type::weight_rows weights(int stage) const {
    const typename memory_type::weight_rows all{memory_.keys[stage]};
    return {all.at(warp_ * geometry::warp_rows, 0)};
  }

  /// Begins to copy the keys, or values, of a tile.
  RELPOS_DEVICE void begin_rows(const view<const stored, 4>& from, index tile,
                                const typename memory_type::key_rows& to) {
    copy_tile<geometry::threads>(machine_, machine_.thread(), from, sequence_.keys, key_head(),
                                 first_row_of(tile), to);
    machine_.commit();
  }

  RELPOS_DEVICE void attend(index tile, index last) {
    int stage = 0;
    begin_rows(call_.k, tile, key_buffer(stage));
    fragment<stored> held_queries[geometry::holds_queries ? steps : 1] = {};
    const bool bounded = Call::bounds && call_.key_norms != nullptr;
    bool first = true;
    index key_origin = std::numeric_limits<index>::min();
    while (tile >= last) {
      // Norms are known from the second tile on.
      const index next = seen_tile(tile - 1, bounded && !first);
      // Queries and keys are there; all threads have done with the values of the tile before, and with its keys.
      machine_.template wait<0>();
      machine_.sync();
      begin_rows(call_.v, tile, values());
      if (next >= last) {
        begin_rows(call_.k, next, key_buffer(1 - stage));
      } else {
        machine_.commit();  // the same number of groups
      }
      if (bounded && first) measure_queries();
      if (turn_to(tile, key_origin) || first) {
        if constexpr (geometry::holds_queries) {
          unroll<steps>([&](auto i) RELPOS_LAMBDA { held_queries[i] = load_queries(i); });
        }
      }
      first = false;
      const tile_class is =
          classify(memory_.of_warp[warp_], tile, warp_ * geometry::warp_rows, geometry::warp_rows);
      score_fragment<key_tiles> scores;
      float rescale[2];
      if (is != tile_class::skip) {
        score(key_buffer(stage), held_queries, scores);
        const score_stages<Machine, Call, one_head> stages({head_}, sequence_, rows_, lane_);
        stages.apply(machine_, first_row_of(tile), is, scores);
        weigh(scores, rescale);
      }
      machine_.template wait<1>();
      machine_.sync();
      if (is != tile_class::skip) {
        outputs_.add(machine_, values(), is, scores, rescale, weights(stage), lane_);
      }
      stage = 1 - stage;
      tile = next;
    }
  }

  /// Scores become weights.
  RELPOS_DEVICE void weigh(score_fragment<key_tiles>& scores, float (&rescale)[2]) {
    if (!call_.statistics.any) {
      softmax_.add(machine_, scores, rescale);
      return;
    }
    statistics_sums(&own)[2] = memory_.statistics[machine_.thread()];
    const softmax_fragment before = softmax_;
    add_moments(scores, own);
    softmax_.add(machine_, scores, rescale);
    add_spread(scores, before, softmax_, rescale, own);
  }

  /// Turns the queries to the origin of a tile's keys, which all of them share. Whether they were not before.
  RELPOS_DEVICE bool turn_to([[maybe_unused]] index tile, [[maybe_unused]] index& key_origin) {
    if constexpr (Call::rotates) {
      const index origin = rotation_rows::origin(tile * keys);
      if (origin == key_origin) return false;
      key_origin = origin;
      turn_queries<HeadDim, geometry::rows, geometry::threads>(
          queries(), turned(), rotation_of(head_.bound),
          [&](int row) { return first_row_ + row + position().query_offset; }, origin,
          machine_.thread());
      machine_.sync();
      return true;
    }
    return false;
  }

  RELPOS_DEVICE fragment<stored> load_queries(int i) const {
    const auto rows = turned();
    return machine_.load(static_cast<const stored*>(
        rows.template matrix_row<true>(warp_ * geometry::warp_rows, i * step, lane_)));
  }

  template <int Held>
  RELPOS_DEVICE void score(const typename memory_type::key_rows& rows,
                           const fragment<stored> (&held_queries)[Held],
                           score_fragment<key_tiles>& scores) const {
    unroll<key_tiles>([&](auto tile) RELPOS_LAMBDA {
      unroll<4>([&](auto element) RELPOS_LAMBDA { scores.at[tile][element] = 0.0f; });
    });
    unroll<steps>([&](auto i) RELPOS_LAMBDA {
      const fragment<stored> query = [&] {
        if constexpr (geometry::holds_queries) {
          return held_queries[i];
        } else {
          return load_queries(i);
        }
      }();
      multiply_add_rows(machine_, scores.at, as_left_factor(machine_, query), rows, 0, i * step,
                        lane_);
    });
  }

  /// out = O / S, lse = ln 2 (m + log2 S), where S includes the sink. A row that sees nothing gives 0 and -inf.
  RELPOS_DEVICE void finish() {
    constexpr float nothing = -std::numeric_limits<float>::infinity();
    const device_rows& rows = sequence_.queries;
    const float sink = head_.sink * log2e;
    const accumulator_place place{lane_};
    unroll<2>([&](auto r) RELPOS_LAMBDA {
      const float sum = softmax_fragment::row_sum(machine_, softmax_.sum[r]);
      statistics_sums statistics;
      if (call_.statistics.any) {
        statistics = of_all_lanes(machine_, memory_.statistics[machine_.thread()][r]);
      }
      if (rows_.row[r] >= rows.count) return;
      const bool empty = sum == 0.0f;
      const float top = empty ? sink : relpos::max(softmax_.maximum[r], sink);
      const float scale = empty ? 0.0f : machine_.exp2(softmax_.maximum[r] - top);
      const float total = sum * scale + (sink == nothing ? 0.0f : machine_.exp2(sink - top));
      const index at = rows.first + rows_.row[r];
      const float factor = empty ? 0.0f : scale / total;
      auto* const out = call_.out.address(rows.batch, query_head_, at, 0);
      unroll<channel_tiles>([&](auto tile) RELPOS_LAMBDA {
        const auto output = [&](int i) RELPOS_LAMBDA {
          return empty ? 0.0f : outputs_.at[tile][2 * r + i] * factor;
        };
        store_two(machine_, out + (tile * 8 + place.column(0)) * call_.out.strides[3],
                  call_.out.strides[3], call_.stores_pairs, output(0), output(1));
      });
      if (lane_ % 4 != 0) return;
      if (call_.lse.data != nullptr) {
        call_.lse(rows.batch, query_head_, at) =
            total == 0.0f ? nothing : (top + std::log2(total)) * ln2;
      }
      if (call_.statistics.any) {
        write_statistics(call_.statistics, statistics, sum, factor, rows.batch, query_head_, at);
      }
    });
  }

  Machine& machine_;
  const Call& call_;
  const device_sequence& sequence_;
  const typename Call::head_type& head_;
  index query_head_;
  index first_row_;
  int lane_;
  int warp_;
  memory_type& memory_;
  lane_rows rows_;
  softmax_fragment softmax_;
  output_fragment<stored, HeadDim> outputs_;
};

}  // namespace relpos::inline RELPOS_ABI
