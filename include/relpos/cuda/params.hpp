#pragma once
// The parameters of a call's blocks: views of the caller's device memory, and data that the host
// prepares and copies to the device before the blocks run (staging.hpp).

#include <cstddef>
#include <cstdint>

#include "relpos/call/block_rotors.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/config.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cuda/arch/arch.hpp"
#include "relpos/stage/softmax.hpp"

namespace relpos::inline RELPOS_ABI {

/// Translates a host pointer to the same object in a device copy, which lies `bytes` further.
template <class Of>
Of* rebase(Of* pointer, std::ptrdiff_t bytes) {
  return reinterpret_cast<Of*>(reinterpret_cast<std::byte*>(pointer) + bytes);
}

/// A run of rows of a batch entry.
struct device_rows {
  index_t batch;
  index_t first;
  index_t count;
};

/// A sequence: its rows in the tensors, and their positions.
struct device_sequence {
  index_t index;  // in the batch
  device_rows queries;
  device_rows keys;
  positions position;
  // For a decoded sequence: the chunks of keys that are seen, and the index of the first of their
  // states, [head][row][chunk].
  bool is_decoded;
  index_t first_chunk;  // in absolute position
  index_t chunks;
  index_t first_state;

  RELPOS_DEVICE index_t state_of(index_t head, index_t row, index_t chunk) const {
    return first_state + (head * queries.count + row) * chunks + chunk;
  }
};

/// Rows of keys that a query sees, [first, last).
struct key_span {
  std::int32_t first;
  std::int32_t last;

  static constexpr key_span of(const key_range& rows) {
    return {static_cast<std::int32_t>(rows.first), static_cast<std::int32_t>(rows.last)};
  }
};

/// A rotation, with its tables and rotors in device memory.
struct device_rotation {
  rotation_rows rows;
  block_rotors rotors;
};

/// One query head of one sequence. `Biases` is a tuple of stages in argument order, with row
/// factors last. `Masks` is a tuple of the masks that decide element by element, as on the CPU
/// (cpu/lowered_head.hpp).
template <class Biases, class Masks>
struct device_head {
  Biases biases;
  Masks masks;
  const key_span* visible;  // of each query row, null if each sees all keys
  score_factors factors;
  float sink;  // logit, -inf for none

  RELPOS_DEVICE key_span visible_to(index_t row, index_t key_count) const {
    return visible == nullptr ? key_span::of({0, key_count}) : visible[row];
  }
};

/// The outputs of row statistics, null if the call does not ask for them.
struct device_statistics {
  view<float, 3> max_probability{};
  view<float, 3> entropy{};
  view<float, 3> logit_count{};
  view<float, 3> logit_mean{};
  view<float, 3> logit_variance{};
  bool any = false;
};

/// `Lowered` names the types of policies that kernels depend on (lowered_policies.hpp).
template <multiplied T, class Out, class Lowered>
struct call_params {
  using stored = T;
  using lowered = Lowered;
  using head_type = device_head<typename Lowered::biases, typename Lowered::masks>;

  view<Out, 4> out;
  view<const T, 4> q;
  view<const T, 4> k;
  view<const T, 4> v;
  view<float, 3> lse;  // null if not asked for
  device_statistics statistics;
  bool stores_pairs;  // neighbouring channels of out can be stored in one piece
  index_t group;      // query heads per key head
  const device_sequence* sequences;
  const head_type* heads;  // [sequence][query head], or [query head] if all sequences are the same
  index_t heads_of_sequence;  // stride between sequences, 0 if all are the same
  index_t key_heads;
  typename Lowered::rotation rotation;  // queries are rotated when they meet keys
  typename Lowered::places places;      // of tokens, as biases read them
  float* key_norms =
      nullptr;  // [sequence][key head][tile] where tiles are left out by a bound (tile_bound.hpp)
  index_t norm_tiles = 0;  // capacity per key head
  chunk_states states{};   // of sequences that are decoded

  RELPOS_DEVICE auto positions_of(const device_sequence& sequence) const {
    if constexpr (Lowered::has_implicit_positions) {
      return implicit_positions{sequence.position};
    } else {
      return explicit_positions<typename Lowered::places>{places, sequence.index};
    }
  }
  RELPOS_DEVICE const head_type& head(index_t sequence, index_t query_head) const {
    return heads[sequence * heads_of_sequence + query_head];
  }
  RELPOS_DEVICE float& key_norm(index_t sequence, index_t key_head, index_t tile) const {
    return key_norms[(sequence * key_heads + key_head) * norm_tiles + tile];
  }
};

}  // namespace relpos::inline RELPOS_ABI
