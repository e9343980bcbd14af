#pragma once
// The data that kernels of a call store in device memory for later kernels of the call.

#include "relpos/core/shape.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cuda/params.hpp"
#include "relpos/cuda/prefill/tile_bound.hpp"

namespace relpos::inline RELPOS_ABI {

/// The amount of each kind of work in a call.
struct call_extent {
  index_t prefill_rows = 0;       // query rows of the longest sequence that is prefilled
  index_t decode_rows = 0;        // query rows of the longest sequence that is decoded
  index_t chunks = 0;             // of the sequence with the most
  index_t states = 0;             // chunk states of all sequences
  bool needs_all_logits = false;  // also logits whose weights are zero
};

template <class T>
struct device_intermediates {
  T* queries = nullptr;  // rotated
  T* keys = nullptr;
  float* norms = nullptr;
  chunk_states states{};

  /// `rotates_tokens`: queries and keys are rotated to the positions of their tokens first.
  template <class Lowered>
  static device_intermediates take(arena& memory, const view<const T, 4>& q,
                                   const view<const T, 4>& k, const attention_shape& shape,
                                   const call_extent& extent, bool rotates_tokens) {
    device_intermediates result;
    if (rotates_tokens) result.queries = memory.take<T>(q.size());
    if (rotates_tokens || (Lowered::rotates && extent.prefill_rows > 0)) {
      result.keys = memory.take<T>(k.size());
    }
    if (Lowered::bounds_scores && key_tile_norms::pays(extent.prefill_rows) &&
        !extent.needs_all_logits) {
      // Tiles have 16 keys or more.
      const index_t tiles = key_tile_norms::capacity(shape.key_length, 16);
      result.norms = memory.take<float>(shape.batch * shape.key_heads * tiles);
    }
    result.states = chunk_states(memory, extent.states, shape.head_dim);
    return result;
  }
};

}  // namespace relpos::inline RELPOS_ABI
