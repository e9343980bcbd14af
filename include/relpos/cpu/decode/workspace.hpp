#pragma once

#include <cstddef>

#include "relpos/core/shape.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// The memory of one work item of decode. Rows of channels are padded to whole vectors.
template <class Isa>
struct decode_workspace {
  static constexpr index_t rows = decode_geometry::rows;
  static constexpr index_t tile_keys = decode_geometry::tile_keys;

  float* packed;         // [rows][padded d], times the folded scale
  float* queries;        // read by the product: `packed` rotated, or `packed` itself
  float* scores;         // [rows][tile_keys], then weights
  float* next_scores;    // of the next tile
  float* outputs;        // [rows][padded d_v]
  float* sums;           // [rows][lanes], of weights
  float* stored_row;     // a converted row before its rotation
  float* rotors_of_row;  // rotors of a row, for explicit positions
  float* key_buffer;     // [tile_keys][padded d], keys that cannot be read in place
  float* value_buffer;
  void* key_rows;  // [known_tiles][tile_keys], pointers
  void* value_rows;

  static constexpr index_t padded(index_t channels) {
    return ceil_div(channels, lanes<Isa>) * lanes<Isa>;
  }

  decode_workspace(arena& memory, const attention_shape& shape, bool rotates, bool by_tile) {
    const index_t key_width = padded(shape.head_dim);
    const index_t value_width = padded(shape.value_dim);
    packed = memory.take<float>(rows * key_width);
    queries = by_tile ? memory.take<float>(rows * key_width) : packed;
    scores = memory.take<float>(rows * tile_keys);
    next_scores = memory.take<float>(rows * tile_keys);
    outputs = memory.take<float>(rows * value_width);
    sums = memory.take<float>(rows * lanes<Isa>);
    stored_row = memory.take<float>(rotates ? shape.head_dim : 0);
    rotors_of_row = memory.take<float>(rotates && !by_tile ? 2 * shape.head_dim : 0);
    key_buffer = memory.take<float>(tile_keys * key_width);
    value_buffer = memory.take<float>(tile_keys * value_width);
    constexpr auto pointers =
        decode_geometry::known_tiles * tile_keys * static_cast<index_t>(sizeof(const void*));
    key_rows = memory.take<std::byte>(pointers);
    value_rows = memory.take<std::byte>(pointers);
  }
};

}  // namespace relpos::inline RELPOS_ABI
