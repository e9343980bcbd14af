#pragma once
// The fused attention of one block of query rows of one head, on tensor cores (Dao, arXiv
// 2307.08691):
//
//   for each key tile that some row sees, from the last to the first:
//     S = QK . scale . softcap . bias . mask . online softmax . O = rescale O + PV
//
// Tiles begin at multiples of their size in absolute position. The values of a tile arrive while
// its scores are computed. The keys of the next tile go to a second buffer and arrive before the
// values of this tile have been added. A tile that the masks hide is not copied. A warp skips a
// tile that its own rows do not see.

#include <limits>

#include "relpos/call/visible_rows.hpp"
#include "relpos/cuda/fragment/copy_tile.hpp"
#include "relpos/cuda/fragment/output_fragment.hpp"
#include "relpos/cuda/fragment/score_stages.hpp"
#include "relpos/cuda/fragment/softmax_fragment.hpp"
#include "relpos/cuda/fragment/statistics_fragment.hpp"
#include "relpos/cuda/fragment/tensor_product.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/cuda/prefill/shared_storage.hpp"
#include "relpos/cuda/prefill/tile_bound.hpp"
#include "relpos/cuda/rotation/device_rotation.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Arch, int HeadDim, class Call>
class prefill_block {
 public:
  using stored = typename Call::stored;
  using lowered = typename Call::lowered;
  using geometry = prefill_block_geometry<stored, HeadDim>;
  using memory_type = prefill_shared_storage<stored, HeadDim>;

  /// Attention of the rows of a sequence from `first_row` on.
  RELPOS_DEVICE prefill_block(Arch& arch, const Call& call, index_t sequence, index_t query_head,
                              index_t first_row)
      : arch_(arch),
        call_(call),
        sequence_(call.sequences[sequence]),
        head_(call.head(sequence, query_head)),
        query_head_(static_cast<int>(query_head)),
        first_row_(static_cast<int>(first_row)),
        lane_(arch.thread() % warp_lanes),
        warp_(arch.thread() / warp_lanes),
        memory_(*reinterpret_cast<memory_type*>(arch.shared())) {}

  RELPOS_DEVICE void run() {
    if constexpr (!lowered::rotates) begin_queries();
    if (call_.statistics.any) {
      for (auto& rows : memory_.statistics[arch_.thread()]) {
        for (statistics_sums& sums : rows) sums = {};
      }
    }
    find_visible();
    const visible_rows& seen = memory_.block_visible;
    if (seen.some_last > seen.some_first) {
      const index_t tile = seen_tile(tile_of(seen.some_last - 1), false);
      if (is_tile(tile)) attend(tile);
    }
    arch_.template wait<0>();
    finish();
  }

 private:
  static constexpr int keys = geometry::keys;
  static constexpr int key_tiles = keys / 8;         // groups of 8 keys, each one mma
  static constexpr int channel_tiles = HeadDim / 8;  // of outputs
  static constexpr int step = step_length<stored>;   // of the sum over channels
  static constexpr int steps = HeadDim / step;
  static constexpr int row_tiles = geometry::row_tiles;

  RELPOS_DEVICE const positions& position() const { return sequence_.position; }
  RELPOS_DEVICE index_t key_head() const { return query_head_ / call_.group; }

  /// The address of a query row of the block, null if it does not exist.
  RELPOS_DEVICE const stored* query_at(int row) const {
    const device_rows& rows = sequence_.queries;
    if (first_row_ + row >= rows.count) return nullptr;
    return call_.q.address(rows.batch, query_head_, rows.first + first_row_ + row, 0);
  }
  RELPOS_DEVICE void begin_queries() {
    queries().template copy_each<geometry::threads>(
        arch_, arch_.thread(), [&](int row) RELPOS_LAMBDA { return query_at(row); }, query_at(0));
    arch_.commit();
  }

  /// Calls use(m, r) for each row of the lane: row r (0 or 1) of the sixteen rows m.
  template <class Use>
  static RELPOS_DEVICE void for_each_row(const Use& use) {
    unroll<row_tiles>([&](auto m)
                          RELPOS_LAMBDA { unroll<2>([&](auto r) RELPOS_LAMBDA { use(m, r); }); });
  }

  /// Finds the keys that the rows of the lane, of the warp and of the block see.
  RELPOS_DEVICE void find_visible() {
    const index_t count = sequence_.keys.count;
    visible_rows seen = visible_rows::of_none(count);
    for_each_row([&](auto m, auto r) RELPOS_LAMBDA {
      const int row = warp_ * geometry::warp_rows + m * 16 + accumulator_place{lane_}.row(2 * r);
      lane_rows& rows = rows_[m];
      rows.row[r] = first_row_ + row;
      key_span span{0, 0};
      if (rows.row[r] < sequence_.queries.count) {
        span = head_.visible_to(rows.row[r], count);
        seen.add(key_range{span.first, span.last});
      }
      if (lane_ % 4 == 0) {
        memory_.visible[warp_][m][accumulator_place{lane_}.row(2 * r)] = span;
      }
    });
    for (int other = 4; other < warp_lanes; other *= 2) {
      const auto of_other = [&](index_t x) { return arch_.shuffle_xor(x, other); };
      seen.add({of_other(seen.some_first), of_other(seen.some_last), of_other(seen.all_first),
                of_other(seen.all_last)});
    }
    // Shared memory saves a few registers here; each tile reads these numbers once.
    if (lane_ == 0) memory_.warp_visible[warp_] = seen;
    arch_.sync();
    if (arch_.thread() == 0) {
      for (const visible_rows& rows : memory_.warp_visible) seen.add(rows);
      memory_.block_visible = seen;
    }
    arch_.sync();
  }

  // Tiles are counted in absolute position.
  RELPOS_DEVICE index_t tile_of(index_t row) const {
    return floor_div(row + position().key_offset, keys);
  }
  RELPOS_DEVICE index_t first_row_of(index_t tile) const {
    return tile * keys - position().key_offset;
  }

  /// Whether `tile` is not below the lowest tile that the block sees.
  RELPOS_DEVICE bool is_tile(index_t tile) const {
    return tile >= tile_of(memory_.block_visible.some_first);
  }

  /// The class that masks give a tile for rows [first, first + count) of the block, whose visible
  /// keys are `rows`.
  RELPOS_DEVICE tile_class classify(const visible_rows& rows, index_t tile, int first,
                                    int count) const {
    const index_t begin = first_row_of(tile);
    const tile_class result = rows.classify(begin, begin + keys);
    if (result == tile_class::skip) return result;
    const index_t q_pos = first_row_ + first + position().query_offset;
    const index_t last =
        std::min<index_t>(q_pos + count, sequence_.queries.count + position().query_offset);
    const index_t first_key = std::max<index_t>(begin, 0) + position().key_offset;
    const index_t last_key =
        std::min<index_t>(begin + keys, sequence_.keys.count) + position().key_offset;
    return both_of(result, classify_all(head_.masks, {q_pos, last, first_key, last_key}));
  }
  /// The first tile from `tile` down that some row of the block sees; below the lowest tile if
  /// there is none. `bounded`: also leaves out tiles where the bound makes every weight zero.
  RELPOS_DEVICE index_t seen_tile(index_t tile, bool bounded) const {
    while (is_tile(tile) &&
           (classify(memory_.block_visible, tile, 0, geometry::rows) == tile_class::skip ||
            (bounded && vanishes(tile)))) {
      --tile;
    }
    return tile;
  }

  RELPOS_DEVICE bool is_bounded() const {
    return lowered::bounds_scores && call_.key_norms != nullptr;
  }

  /// Whether a tile adds nothing to any row of the block. All threads of the block call it
  /// together.
  RELPOS_DEVICE bool vanishes([[maybe_unused]] index_t tile) const {
    if constexpr (lowered::bounds_scores) {
      const float key_norm = call_.key_norm(sequence_.index, key_head(), tile - tile_of(0));
      const index_t first_key = tile * keys;
      bool adds = false;
      for_each_row([&](auto m, auto r) RELPOS_LAMBDA {
        const int row = rows_[m].row[r];
        if (row >= sequence_.queries.count) return;
        const index_t q_pos = row + position().query_offset;
        const float product =
            memory_.query_norms[row - first_row_] * key_norm * relpos::abs(head_.factors.query);
        adds = adds || !row_vanishes<HeadDim>(head_, product, softmax_[m].maximum[r],
                                              {first_key - q_pos, first_key + keys - 1 - q_pos});
      });
      return !arch_.sync_any(adds);
    }
    return false;
  }

  /// Measures the norms of the queries, which have arrived in shared memory. One or two threads
  /// take each row.
  RELPOS_DEVICE void measure_queries() {
    constexpr int parts = geometry::threads / geometry::rows;
    static_assert(parts * geometry::rows == geometry::threads && parts <= 2);
    const int row = arch_.thread() / parts;
    float square = 0.0f;
    for (int c = arch_.thread() % parts; c < HeadDim; c += parts) {
      const float x = widen(arch_, *queries().at(row, c));
      square += x * x;
    }
    if constexpr (parts == 2) square += arch_.shuffle_xor(square, 1);
    memory_.query_norms[row] = arch_.sqrt(square);
  }

  /// The queries as the product reads them: rotated, if the call rotates them by tile.
  RELPOS_DEVICE typename memory_type::query_rows queries() const { return {memory_.queries}; }
  RELPOS_DEVICE typename memory_type::key_rows key_buffer(int stage) const {
    return {memory_.keys[stage]};
  }
  RELPOS_DEVICE typename memory_type::key_rows values() const { return {memory_.values}; }
  /// Room for the weights of sixteen rows of the warp, in the buffer of keys whose scores are
  /// known.
  RELPOS_DEVICE typename memory_type::weight_rows weights(int stage) const {
    const typename memory_type::weight_rows all{memory_.keys[stage]};
    return {all.at(warp_ * 16, 0)};
  }

  /// Begins to copy the keys, or values, of a tile.
  RELPOS_DEVICE void begin_rows(const view<const stored, 4>& source, index_t tile,
                                const typename memory_type::key_rows& destination) {
    copy_tile<geometry::threads>(arch_, arch_.thread(), source, sequence_.keys, key_head(),
                                 first_row_of(tile), destination);
    arch_.commit();
  }

  RELPOS_DEVICE score_stages<Arch, Call, one_head> stages_of(int m) const {
    return {{head_}, call_, sequence_, rows_[m], memory_.visible[warp_][m], lane_};
  }

  RELPOS_DEVICE void attend(index_t tile) {
    int stage = 0;
    begin_rows(call_.k, tile, key_buffer(stage));
    row_factors factors[row_tiles];
    unroll<row_tiles>([&](auto m) RELPOS_LAMBDA { factors[m] = stages_of(m).factors(); });
    if (is_bounded()) {
      arch_.template wait<0>();
      arch_.sync();
      measure_queries();
      arch_.sync();
    }
    index_t key_block = std::numeric_limits<index_t>::min();
    while (is_tile(tile)) {
      const index_t next = seen_tile(tile - 1, is_bounded());
      // Queries and keys have arrived. All threads are done with the values and the keys of the
      // previous tile.
      arch_.template wait<0>();
      arch_.sync();
      begin_rows(call_.v, tile, values());
      if (is_tile(next)) {
        begin_rows(call_.k, next, key_buffer(1 - stage));
      } else {
        arch_.commit();  // an empty group: wait<1> below counts groups
      }
      rotate_to(tile, key_block);
      const tile_class is = classify(memory_.warp_visible[warp_], tile, warp_ * geometry::warp_rows,
                                     geometry::warp_rows);
      score_fragment<key_tiles> scores[row_tiles];
      float rescale[row_tiles][2];
      if (is != tile_class::skip) {
        score(key_buffer(stage), scores);
        unroll<row_tiles>([&](auto m) RELPOS_LAMBDA {
          stages_of(m).apply(arch_, first_row_of(tile), is, factors[m], scores[m]);
          weigh(softmax_[m], scores[m], rescale[m], memory_.statistics[arch_.thread()][m]);
        });
      }
      arch_.template wait<1>();
      arch_.sync();
      if (is != tile_class::skip) {
        weighted_values<stored, HeadDim, row_tiles>::add(arch_, outputs_, values(), is, scores,
                                                         rescale, weights(stage), lane_);
      }
      stage = 1 - stage;
      tile = next;
    }
  }

  /// Turns scores into weights, and adds them to the statistics if the call asks for them.
  RELPOS_DEVICE void weigh(softmax_fragment& softmax, score_fragment<key_tiles>& scores,
                           float (&rescale)[2], statistics_sums (&statistics)[2]) const {
    if (!call_.statistics.any) {
      softmax.add(arch_, scores, rescale);
      return;
    }
    const softmax_fragment previous = softmax;
    add_moments(scores, statistics);
    softmax.add(arch_, scores, rescale);
    add_spread_of_weights(scores, previous, softmax, rescale, statistics);
  }

  /// Rotates the queries to the block of positions of a tile's keys. All keys of a tile lie in one
  /// such block.
  RELPOS_DEVICE void rotate_to([[maybe_unused]] index_t tile, [[maybe_unused]] index_t& key_block) {
    if constexpr (lowered::rotates) {
      const index_t block = rotation_rows::block_of(tile * keys);
      if (block == key_block) return;
      key_block = block;
      rotate_queries<HeadDim, geometry::warps>(
          arch_, queries(), call_.rotation, [&](int row) { return query_at(row); },
          [&](int row) { return first_row_ + row + position().query_offset; }, block);
      arch_.sync();
    }
  }

  RELPOS_DEVICE void score(const typename memory_type::key_rows& rows,
                           score_fragment<key_tiles> (&scores)[row_tiles]) const {
    unroll<row_tiles>([&](auto m) RELPOS_LAMBDA { scores[m] = {}; });
    unroll<steps>([&](auto i) RELPOS_LAMBDA {
      left_factor<stored> factors[row_tiles];
      unroll<row_tiles>([&](auto m) RELPOS_LAMBDA {
        const int row = warp_ * geometry::warp_rows + m * 16;
        const fragment<stored> query = arch_.load(
            static_cast<const stored*>(queries().template matrix_row<true>(row, i * step, lane_)));
        factors[m] = as_left_factor(arch_, query);
      });
      multiply_add_keys(arch_, scores, factors, rows, i * step, lane_);
    });
  }

  RELPOS_DEVICE void finish() {
    const device_rows& rows = sequence_.queries;
    const float sink = head_.sink * log2e;
    const accumulator_place place{lane_};
    const auto exp2 = [this](float x) { return arch_.exp2(x); };
    for_each_row([&](auto m, auto r) RELPOS_LAMBDA {
      const softmax_fragment& softmax = softmax_[m];
      const float sum = softmax_fragment::row_sum(arch_, softmax.sum[r]);
      statistics_sums statistics;
      if (call_.statistics.any) {
        statistics = of_all_lanes(arch_, memory_.statistics[arch_.thread()][m][r]);
      }
      const int row = rows_[m].row[r];
      if (row >= rows.count) return;
      const bool empty = sum == 0.0f;
      const finished_row<float> finished = finish_row(exp2, softmax.maximum[r], sum, sink);
      const index_t tensor_row = rows.first + row;
      auto* const out = call_.out.address(rows.batch, query_head_, tensor_row, 0);
      unroll<channel_tiles>([&](auto tile) RELPOS_LAMBDA {
        const auto output = [&](int i) RELPOS_LAMBDA {
          return empty ? 0.0f : outputs_[m].tiles[tile][2 * r + i] * finished.factor;
        };
        store_two(arch_, out + (tile * 8 + place.column(0)) * call_.out.strides[3],
                  call_.out.strides[3], call_.stores_pairs, output(0), output(1));
      });
      if (lane_ % 4 != 0) return;
      if (call_.lse.data != nullptr) {
        call_.lse(rows.batch, query_head_, tensor_row) = lse_of(finished.top, finished.total);
      }
      if (call_.statistics.any) {
        write_statistics(call_.statistics, statistics, sum, finished.factor, rows.batch,
                         query_head_, tensor_row);
      }
    });
  }

  Arch& arch_;
  const Call& call_;
  const device_sequence& sequence_;
  const typename Call::head_type& head_;
  int query_head_;
  int first_row_;
  int lane_;
  int warp_;
  memory_type& memory_;
  // One entry for each sixteen rows.
  lane_rows rows_[row_tiles];
  softmax_fragment softmax_[row_tiles];
  output_fragment<stored, HeadDim> outputs_[row_tiles];
};

}  // namespace relpos::inline RELPOS_ABI
