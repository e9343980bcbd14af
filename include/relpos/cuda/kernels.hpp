#pragma once
// The kernels of a call, each over a machine: what a block does, how many threads and how much shared memory it has.

#include <cstddef>

#include "relpos/cuda/decode/block.hpp"
#include "relpos/cuda/decode/merge.hpp"
#include "relpos/cuda/prefill/block.hpp"
#include "relpos/cuda/prefill/tile_bound.hpp"
#include "relpos/cuda/rotation/given_turns.hpp"

namespace relpos::inline RELPOS_ABI {

/// A block's place among those of a launch, or how many of them there are.
struct block_grid {
  index_t x = 1;
  index_t y = 1;
  index_t z = 1;
};

/// Shared memory that a block may have of any GPU of compute capability 8.0 or later.
inline constexpr std::size_t shared_bytes_everywhere = 99 * 1024;

/// A block for each 128 query rows, or fewer, of each query head of each sequence that is not split.
template <int HeadDim, class Call>
struct forward_pass {
  using geometry = forward_geometry<typename Call::stored, HeadDim>;
  static constexpr int threads = geometry::threads;
  static constexpr std::size_t shared_bytes =
      sizeof(forward_memory<typename Call::stored, HeadDim>);

  static_assert(shared_bytes <= shared_bytes_everywhere);

  Call call;
  index_t row_blocks;

  template <class Machine>
  RELPOS_DEVICE void operator()(Machine& machine, const block_grid& block) const {
    // Under a causal mask the last rows see most: they begin first.
    const index_t first_row = (row_blocks - 1 - block.x) * geometry::rows;
    const device_sequence& sequence = call.sequences[block.z];
    if (sequence.is_split || first_row >= sequence.queries.count) return;
    forward_block<Machine, HeadDim, Call>(machine, call, block.z, block.y, first_row).run();
  }
};

/// A block for each chunk, of each sixteen rows, of each key head of each sequence that is split.
template <int HeadDim, class Call>
struct split_pass {
  using geometry = split_geometry<typename Call::stored, HeadDim>;
  static constexpr int threads = geometry::threads;
  static constexpr std::size_t shared_bytes = sizeof(split_memory<typename Call::stored, HeadDim>);

  static_assert(shared_bytes <= shared_bytes_everywhere);

  Call call;
  index_t chunks;

  template <class Machine>
  RELPOS_DEVICE void operator()(Machine& machine, const block_grid& block) const {
    const device_sequence& sequence = call.sequences[block.z];
    const index_t chunk = block.x % chunks;
    const index_t first_row = block.x / chunks * geometry::rows;
    if (!sequence.is_split || chunk >= sequence.chunks) return;
    if (first_row >= sequence.queries.count * call.group) return;
    split_block<Machine, HeadDim, Call>(machine, call, block.z, block.y, first_row, chunk).run();
  }
};

/// A block for each row of each query head of each sequence that is split.
template <int HeadDim, class Call>
struct split_merge_pass {
  static constexpr int threads = split_merge_geometry::threads;
  static constexpr std::size_t shared_bytes = sizeof(split_merge_memory<HeadDim>);

  Call call;

  template <class Machine>
  RELPOS_DEVICE void operator()(Machine& machine, const block_grid& block) const {
    const device_sequence& sequence = call.sequences[block.z];
    if (!sequence.is_split || block.x >= sequence.queries.count) return;
    merge_split_row<HeadDim>(machine, call, block.z, block.y, block.x);
  }
};

/// What a warp each does that needs no other.
struct warps_of_block {
  static constexpr int count = 4;
  static constexpr int threads = count * warp_lanes;

  static constexpr index_t blocks(index_t items) { return ceil_div(items, count); }
  template <class Machine>
  static RELPOS_DEVICE index_t item(Machine& machine, index_t block) {
    return block * count + machine.thread() / warp_lanes;
  }
};

/// A warp for each key of each key head of each sequence that is not split.
template <int HeadDim, class Call>
struct turn_keys_pass {
  static constexpr int threads = warps_of_block::threads;
  static constexpr std::size_t shared_bytes = 0;

  Call call;
  view<typename Call::stored, 4> turned;

  template <class Machine>
  RELPOS_DEVICE void operator()(Machine& machine, const block_grid& block) const {
    turn_key<HeadDim>(machine, call, turned, block.z, block.y,
                      warps_of_block::item(machine, block.x));
  }
};

/// A warp for each query, or key, of each head of each sequence. `length` is that of the longest.
template <int HeadDim, class Call>
struct turn_tokens_pass {
  static constexpr int threads = warps_of_block::threads;
  static constexpr std::size_t shared_bytes = 0;

  Call call;
  device_turns turns;
  view<typename Call::stored, 4> turned;
  index_t length;
  bool are_keys;

  template <class Machine>
  RELPOS_DEVICE void operator()(Machine& machine, const block_grid& block) const {
    const device_sequence& sequence = call.sequences[block.z];
    const device_rows& rows = are_keys ? sequence.keys : sequence.queries;
    const index_t row = warps_of_block::item(machine, block.x);
    if (row >= rows.count) return;
    const auto& from = are_keys ? call.k : call.q;
    turn_token<HeadDim>(machine, turns, are_keys ? turns.keys : turns.queries, length, block.z, row,
                        from.address(rows.batch, block.y, rows.first + row, 0),
                        turned.address(rows.batch, block.y, rows.first + row, 0));
  }
};

/// A warp for each tile of keys.
template <int HeadDim, class Call>
struct measure_keys_pass {
  static constexpr int threads = warps_of_block::threads;
  static constexpr std::size_t shared_bytes = 0;

  Call call;

  template <class Machine>
  RELPOS_DEVICE void operator()(Machine& machine, const block_grid& block) const {
    const index_t tile = warps_of_block::item(machine, block.x);
    if (tile < call.norm_tiles) {
      measure_key_tile<HeadDim>(machine, call, block.z, block.y, tile);
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
