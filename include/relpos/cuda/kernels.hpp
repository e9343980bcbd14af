#pragma once
// The kernels of a call, each over an architecture: the work of a block, its number of threads and
// its bytes of shared memory.

#include <cstddef>

#include "relpos/cuda/decode/block.hpp"
#include "relpos/cuda/decode/merge.hpp"
#include "relpos/cuda/prefill/block.hpp"
#include "relpos/cuda/prefill/tile_bound.hpp"
#include "relpos/cuda/rotation/explicit_rotation.hpp"

namespace relpos::inline RELPOS_ABI {

/// The index of a block in a launch, or the number of blocks, on three axes.
struct block_grid {
  index_t x = 1;
  index_t y = 1;
  index_t z = 1;
};

/// Bytes of shared memory that a block may have on every GPU of compute capability 8.0 or later.
inline constexpr std::size_t shared_bytes_everywhere = 99 * 1024;

/// A block for each 128, 64 or 32 query rows (geometry::rows) of each query head of each sequence
/// that is prefilled.
template <int HeadDim, class Call>
struct prefill_kernel {
  using geometry = prefill_block_geometry<typename Call::stored, HeadDim>;
  static constexpr int threads = geometry::threads;
  static constexpr std::size_t shared_bytes =
      sizeof(prefill_shared_storage<typename Call::stored, HeadDim>);

  static_assert(shared_bytes <= shared_bytes_everywhere);

  Call call;
  index_t row_blocks;

  template <class Arch>
  RELPOS_DEVICE void operator()(Arch& arch, const block_grid& block) const {
    // Under a causal mask the last rows see most: they begin first.
    const index_t first_row = (row_blocks - 1 - block.x) * geometry::rows;
    const device_sequence& sequence = call.sequences[block.z];
    if (sequence.is_decoded || first_row >= sequence.queries.count) return;
    prefill_block<Arch, HeadDim, Call>(arch, call, block.z, block.y, first_row).run();
  }
};

/// A block for each chunk of keys and each sixteen query rows, of each key head of each sequence
/// that is decoded.
template <int HeadDim, class Call>
struct decode_kernel {
  using geometry = decode_block_geometry<typename Call::stored, HeadDim>;
  static constexpr int threads = geometry::threads;
  static constexpr std::size_t shared_bytes =
      sizeof(decode_shared_storage<typename Call::stored, HeadDim>);

  static_assert(shared_bytes <= shared_bytes_everywhere);

  Call call;
  index_t chunks;

  template <class Arch>
  RELPOS_DEVICE void operator()(Arch& arch, const block_grid& block) const {
    const device_sequence& sequence = call.sequences[block.z];
    const index_t chunk = block.x % chunks;
    const index_t first_row = block.x / chunks * geometry::rows;
    if (!sequence.is_decoded || chunk >= sequence.chunks) return;
    if (first_row >= sequence.queries.count * call.group) return;
    decode_block<Arch, HeadDim, Call>(arch, call, block.z, block.y, first_row, chunk).run();
  }
};

/// A block for each row of each query head of each sequence that is decoded.
template <int HeadDim, class Call>
struct decode_merge_kernel {
  static constexpr int threads = decode_merge_geometry::threads;
  static constexpr std::size_t shared_bytes = sizeof(decode_merge_shared_storage<HeadDim>);

  Call call;

  template <class Arch>
  RELPOS_DEVICE void operator()(Arch& arch, const block_grid& block) const {
    const device_sequence& sequence = call.sequences[block.z];
    if (!sequence.is_decoded || block.x >= sequence.queries.count) return;
    merge_decoded_row<HeadDim>(arch, call, block.z, block.y, block.x);
  }
};

/// Blocks of four warps that work independently, each on one item.
struct warps_of_block {
  static constexpr int count = 4;
  static constexpr int threads = count * warp_lanes;

  static constexpr index_t blocks(index_t items) { return ceil_div(items, count); }
  template <class Arch>
  static RELPOS_DEVICE index_t item(Arch& arch, index_t block) {
    return block * count + arch.thread() / warp_lanes;
  }
};

/// A warp for each key of each key head of each sequence that is prefilled.
template <int HeadDim, class Call>
struct rotate_keys_kernel {
  static constexpr int threads = warps_of_block::threads;
  static constexpr std::size_t shared_bytes = 0;

  Call call;
  view<typename Call::stored, 4> rotated;

  template <class Arch>
  RELPOS_DEVICE void operator()(Arch& arch, const block_grid& block) const {
    rotate_key<HeadDim>(arch, call, rotated, block.z, block.y, warps_of_block::item(arch, block.x));
  }
};

/// A warp for each query, or key, of each head of each sequence. `length` is the length of the
/// longest sequence.
template <int HeadDim, class Call>
struct rotate_tokens_kernel {
  static constexpr int threads = warps_of_block::threads;
  static constexpr std::size_t shared_bytes = 0;

  Call call;
  token_rotation rotation;
  view<typename Call::stored, 4> rotated;
  index_t length;
  bool are_keys;

  template <class Arch>
  RELPOS_DEVICE void operator()(Arch& arch, const block_grid& block) const {
    const device_sequence& sequence = call.sequences[block.z];
    const device_rows& rows = are_keys ? sequence.keys : sequence.queries;
    const index_t row = warps_of_block::item(arch, block.x);
    if (row >= rows.count) return;
    const auto& source = are_keys ? call.k : call.q;
    rotate_token<HeadDim>(arch, rotation, are_keys ? rotation.keys : rotation.queries, length,
                          block.z, row, source.address(rows.batch, block.y, rows.first + row, 0),
                          rotated.address(rows.batch, block.y, rows.first + row, 0));
  }
};

/// A warp for each tile of keys of each key head of each sequence.
template <int HeadDim, class Call>
struct measure_keys_kernel {
  static constexpr int threads = warps_of_block::threads;
  static constexpr std::size_t shared_bytes = 0;

  Call call;

  template <class Arch>
  RELPOS_DEVICE void operator()(Arch& arch, const block_grid& block) const {
    const index_t tile = warps_of_block::item(arch, block.x);
    if (tile < call.norm_tiles) {
      measure_key_tile<HeadDim>(arch, call, block.z, block.y, tile);
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
