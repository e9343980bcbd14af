#pragma once
// The numbering of a call's work items: sequences from the longest items to the shortest, so that
// threads which take the next item from a queue end together.

#include <algorithm>
#include <numeric>

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

/// The items of the attend phase and of the merge phase of all sequences.
class work_plan {
 public:
  work_plan(arena& memory, index_t sequences)
      : sequences_(sequences),
        order_(memory.take<index_t>(sequences)),
        attend_first_(memory.take<index_t>(sequences + 1)),
        merge_first_(memory.take<index_t>(sequences + 1)),
        decoded_(memory.take<decoded_sequence>(sequences)),
        chunks_of_item_(memory.take<index_t>(1)) {}

  /// Fills the plan. One thread calls it, before the counts are read.
  template <class Isa>
  void fill(const call_sequences& call, index_t workers) const {
    *chunks_of_item_ = divide(call, workers);
    const auto cost_of = [&](index_t sequence) {
      const attention_shape shape = call.shape_of(sequence);
      if (!is_decoded(call.opts, shape)) {
        return std::min(shape.query_length, geometry<Isa>::block_rows) *
               call.resident_of(sequence).count();
      }
      // Reading a key takes about as long as computing with it for decode_geometry::rows rows.
      const index_t chunks = std::min(decoded_[sequence].geometry.chunks, *chunks_of_item_);
      return decode_geometry::rows * chunks * decode_geometry::chunk_keys;
    };
    std::iota(order_, order_ + sequences_, index_t{0});
    if (!call.is_uniform()) {
      index_t* const costs = attend_first_;  // until the order is known
      for (index_t sequence = 0; sequence < sequences_; ++sequence) {
        costs[sequence] = cost_of(sequence);
      }
      sort_by_cost(costs);
    }
    attend_first_[0] = 0;
    merge_first_[0] = 0;
    for (index_t i = 0; i < sequences_; ++i) {
      const attention_shape shape = call.shape_of(order_[i]);
      index_t attend = shape.query_heads * ceil_div(shape.query_length, geometry<Isa>::block_rows);
      index_t merge = 0;
      if (is_decoded(call.opts, shape)) {
        const decode_geometry& division = decoded_[order_[i]].geometry;
        attend = shape.key_heads * division.items_of_block(*chunks_of_item_) * division.row_blocks;
        merge = shape.query_heads;
      }
      attend_first_[i + 1] = attend_first_[i] + attend;
      merge_first_[i + 1] = merge_first_[i] + merge;
    }
  }

  /// The number of chunks of keys in one item of decode.
  index_t chunks_of_item() const { return *chunks_of_item_; }
  const decoded_sequence& decoded(index_t sequence) const { return decoded_[sequence]; }

  index_t attend_count() const { return attend_first_[sequences_]; }
  index_t merge_count() const { return merge_first_[sequences_]; }

  struct place {
    index_t sequence;
    index_t item;  // index in the sequence
  };
  place attend_item(index_t item) const { return find(attend_first_, item); }
  place merge_item(index_t item) const { return find(merge_first_, item); }

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
      const positions position = call.position_of(sequence);
      const decode_geometry division(shape, position.key_offset, call.seen_rows(sequence),
                                     call.evicted(sequence));
      decoded_[sequence] = {division, states};
      chunks += shape.key_heads * division.chunks * division.row_blocks;
      states += shape.query_heads * shape.query_length * division.chunks;
    }
    constexpr index_t items_per_worker = 8;
    return std::max<index_t>(chunks / (items_per_worker * workers), 1);
  }

  place find(const index_t* first, index_t item) const {
    const index_t* const bound = std::upper_bound(first, first + sequences_ + 1, item);
    return {order_[bound - first - 1], item - bound[-1]};
  }

  index_t sequences_;
  index_t* order_;         // [sequences], from the longest items to the shortest
  index_t* attend_first_;  // [sequences + 1], items before the items of order_[i]
  index_t* merge_first_;
  decoded_sequence* decoded_;  // [sequences]
  index_t* chunks_of_item_;
};

}  // namespace relpos::inline RELPOS_ABI
