#pragma once
// The numbering of a call's work items: sequences from the longest items to the shortest, so that
// threads which take the next item from a queue end together.

#include <algorithm>
#include <numeric>
#include <optional>

#include "relpos/call/call_sequences.hpp"
#include "relpos/call/options.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/cpu/prefill/geometry.hpp"

namespace relpos::inline RELPOS_ABI {

/// The chunks of a sequence that decode computes.
struct decoded_sequence {
  decode_geometry geometry;
  index_t first_state = 0;  // of its chunks, [head][row][chunk]

  index_t state_of(const attention_shape& shape, index_t head, index_t row, index_t chunk) const {
    return first_state + (head * shape.query_length + row) * geometry.chunks + chunk;
  }
};

/// Items [first, last) of a sequence, which one worker computes one after another.
struct item_bundle {
  index_t sequence;
  index_t first;
  index_t last;
};

/// The items of the attend phase and of the merge phase of all sequences. Short items of the attend
/// phase are bundled: what a worker sets up once must not cost as much as an item.
class work_plan {
 public:
  work_plan(arena& memory, index_t sequences)
      : sequences_(sequences),
        order_(memory.take<index_t>(sequences)),
        items_(memory.take<index_t>(sequences)),
        bundle_items_(memory.take<index_t>(sequences)),
        attend_first_(memory.take<index_t>(sequences + 1)),
        merge_first_(memory.take<index_t>(sequences + 1)),
        decoded_(memory.take<decoded_sequence>(sequences)),
        chunks_of_item_(memory.take<index_t>(1)) {}

  /// Whether bundles can hold all items of a key head and keep all workers busy. Then a worker can
  /// prepare the keys of a head itself, just before it reads them.
  template <class Isa>
  static bool can_bundle_key_heads(const call_sequences& call, index_t workers) {
    if (!call.is_uniform() || call.shape.batch == 0 || call.shape.key_heads == 0) return false;
    const attention_shape shape = call.shape_of(0);
    if (is_decoded(call.opts, shape)) return false;
    if (workers == 1) return true;
    const index_t items = call.shape.batch * shape.query_heads * blocks_of<Isa>(shape);
    return std::min(largest_share(items, workers),
                    items_within_budget(call, prefill_cost<Isa>(call, 0))) >=
           items_of_key_head<Isa>(shape);
  }

  /// Fills the plan. One thread calls it, before the counts are read. `bundles_key_heads`: all
  /// items of a key head are in one bundle.
  template <class Isa>
  void fill(const call_sequences& call, index_t workers, bool bundles_key_heads) const {
    *chunks_of_item_ = divide(call, workers);
    const auto cost_of = [&](index_t sequence) {
      const attention_shape shape = call.shape_of(sequence);
      if (!is_decoded(call.opts, shape)) return prefill_cost<Isa>(call, sequence);
      // Reading a key takes about as long as computing with it for decode_geometry::rows rows.
      const index_t chunks = std::min(decoded_[sequence].geometry.chunks, *chunks_of_item_);
      const index_t keys = call.longest_selection().value_or(call.resident_of(sequence).count());
      return decode_geometry::rows * std::min(chunks * decode_geometry::chunk_keys, keys);
    };
    std::iota(order_, order_ + sequences_, index_t{0});
    if (!call.is_uniform()) {
      index_t* const costs = attend_first_;  // until the order is known
      for (index_t sequence = 0; sequence < sequences_; ++sequence) {
        costs[sequence] = cost_of(sequence);
      }
      sort_by_cost(costs);
    }
    index_t all_items = 0;
    merge_first_[0] = 0;
    for (index_t i = 0; i < sequences_; ++i) {
      const attention_shape shape = call.shape_of(order_[i]);
      items_[i] = shape.query_heads * blocks_of<Isa>(shape);
      index_t merge = 0;
      if (is_decoded(call.opts, shape)) {
        const decode_geometry& division = decoded_[order_[i]].geometry;
        items_[i] =
            shape.key_heads * division.items_of_block(*chunks_of_item_) * division.row_blocks;
        merge = shape.query_heads;
      }
      all_items += items_[i];
      merge_first_[i + 1] = merge_first_[i] + merge;
    }
    const index_t share = workers == 1 ? all_items : largest_share(all_items, workers);
    attend_first_[0] = 0;
    for (index_t i = 0; i < sequences_; ++i) {
      index_t size = std::min(share, items_within_budget(call, cost_of(order_[i])));
      if (bundles_key_heads && items_[i] > 0) {
        const index_t whole = items_of_key_head<Isa>(call.shape_of(order_[i]));
        size = std::max<index_t>(size / whole, 1) * whole;
      }
      bundle_items_[i] = std::max<index_t>(size, 1);
      attend_first_[i + 1] = attend_first_[i] + ceil_div(items_[i], bundle_items_[i]);
    }
  }

  /// The number of chunks of keys in one item of decode.
  index_t chunks_of_item() const { return *chunks_of_item_; }
  const decoded_sequence& decoded(index_t sequence) const { return decoded_[sequence]; }

  /// Counts bundles.
  index_t attend_count() const { return attend_first_[sequences_]; }
  index_t merge_count() const { return merge_first_[sequences_]; }

  item_bundle bundle(index_t i) const {
    const index_t place = place_of(attend_first_, i);
    const index_t first = (i - attend_first_[place]) * bundle_items_[place];
    return {order_[place], first, std::min(first + bundle_items_[place], items_[place])};
  }

  struct merged_head {
    index_t sequence;
    index_t head;
  };
  merged_head merge_item(index_t i) const {
    const index_t place = place_of(merge_first_, i);
    return {order_[place], i - merge_first_[place]};
  }

 private:
  /// Orders sequences by descending cost; equal sequences stay in their order.
  void sort_by_cost(const index_t* costs) const {
    std::sort(order_, order_ + sequences_, [&](index_t a, index_t b) {
      return costs[a] != costs[b] ? costs[a] > costs[b] : a < b;
    });
  }

  /// Divides sequences into chunks, and returns the number of chunks per item. Long runs of keys
  /// keep the memory busy; short runs occupy all threads.
  index_t divide(const call_sequences& call, index_t workers) const {
    index_t chunks = 0;
    index_t states = 0;
    for (index_t sequence = 0; sequence < call.shape.batch; ++sequence) {
      const attention_shape shape = call.shape_of(sequence);
      decoded_[sequence] = {};
      if (!is_decoded(call.opts, shape)) continue;
      const std::optional<index_t> selected = call.longest_selection();
      const decode_geometry division =
          selected ? decode_geometry::of_selection(shape, *selected)
                   : decode_geometry(shape, call.position_of(sequence).key_offset,
                                     call.seen_rows(sequence), call.evicted(sequence));
      decoded_[sequence] = {division, states};
      chunks += shape.key_heads * division.chunks * division.row_blocks;
      states += shape.query_heads * shape.query_length * division.chunks;
    }
    return std::max<index_t>(largest_share(chunks, workers), 1);
  }

  /// The number that a worker may take at once of `count`, so that each takes several times and all
  /// end together.
  static index_t largest_share(index_t count, index_t workers) {
    constexpr index_t times = 8;
    return count / (times * workers);
  }

  template <class Isa>
  static index_t blocks_of(const attention_shape& shape) {
    return ceil_div(shape.query_length, geometry<Isa>::block_rows);
  }
  template <class Isa>
  static index_t items_of_key_head(const attention_shape& shape) {
    return shape.query_heads / shape.key_heads * blocks_of<Isa>(shape);
  }
  /// The scores of an item of prefill.
  template <class Isa>
  static index_t prefill_cost(const call_sequences& call, index_t sequence) {
    return std::min(call.shape_of(sequence).query_length, geometry<Isa>::block_rows) *
           call.resident_of(sequence).count();
  }

  /// The number of items of `cost` scores that take some tens of microseconds.
  static index_t items_within_budget(const call_sequences& call, index_t cost) {
    constexpr index_t multiply_adds = index_t{1} << 22;
    const index_t item = cost * (call.shape.head_dim + call.shape.value_dim);
    return multiply_adds / std::max<index_t>(item, 1);
  }

  /// The place in `order_` of the sequence that has number `i`; `first` has the numbers before.
  index_t place_of(const index_t* first, index_t i) const {
    return std::upper_bound(first, first + sequences_ + 1, i) - first - 1;
  }

  index_t sequences_;
  index_t* order_;         // [sequences], from the longest items to the shortest
  index_t* items_;         // [sequences], of the attend phase of order_[i]
  index_t* bundle_items_;  // [sequences], in each bundle of order_[i] but the last
  index_t* attend_first_;  // [sequences + 1], bundles before the bundles of order_[i]
  index_t* merge_first_;
  decoded_sequence* decoded_;  // [sequences]
  index_t* chunks_of_item_;
};

}  // namespace relpos::inline RELPOS_ABI
