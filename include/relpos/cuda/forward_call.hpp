#pragma once
// What the blocks of one fused forward pass read: views of the caller's device memory, and what the host has prepared
// for them, which is copied to the device before they run (forward_data.hpp).

#include <cstdint>
#include <tuple>
#include <type_traits>

#include "relpos/core/policy.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/scale.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"
#include "relpos/cuda/machine.hpp"
#include "relpos/kernel/bias_table.hpp"
#include "relpos/kernel/chunk_state.hpp"
#include "relpos/kernel/rotation_gains.hpp"

namespace relpos::inline RELPOS_ABI {

/// A run of rows of a batch entry.
struct device_rows {
  index_t batch;
  index_t first;
  index_t count;
};

/// A sequence: its rows in the tensors, and their positions.
struct device_sequence {
  index_t at;  // of the batch
  device_rows queries;
  device_rows keys;
  positions position;
  // Of few queries: chunks of keys that are seen, and the first of their states, [head][row][chunk].
  bool is_split;
  index_t first_chunk;  // in absolute position
  index_t chunks;
  index_t first_state;

  RELPOS_DEVICE index_t state_of(index_t head, index_t row, index_t chunk) const {
    return first_state + (head * queries.count + row) * chunks + chunk;
  }
};

/// A bound policy whose bias is tabulated: the device has the table, and `Rest`, what else there is of the policy. The
/// function that fills the table stays on the host: its type may be a lambda's, which no kernel may have for an argument.
template <class Rest>
struct device_table : Rest {
  bias_table table;
};
struct nothing_else {};

template <class T>
inline constexpr bool is_device_table = false;
template <class Rest>
inline constexpr bool is_device_table<device_table<Rest>> = true;

/// A rotation, with its tables and gains in device memory.
struct device_rotation {
  rotation_rows rows;
  rotation_gains gains;
};

/// Where a token stands on one axis: which of the origins that occur, and how far beyond it.
struct token_turn {
  std::int32_t origin;
  std::int32_t rest;
};
/// A rotation to positions that are given per token, with the turns of their origins.
struct device_turns {
  rotation_rows rows;         // the table of queries turns keys as well
  const float* origins;       // [origin][2][pairs]
  const token_turn* queries;  // [axis][sequence][row]
  const token_turn* keys;
  index_t sequences;
};

template <class... Bound>
constexpr const device_rotation& rotation_of(const std::tuple<Bound...>& bound) {
  return std::get<device_rotation>(bound);
}
template <class... Bound>
constexpr const device_turns& turns_of(const std::tuple<Bound...>& bound) {
  return std::get<device_turns>(bound);
}

template <class Bound>
inline constexpr bool is_device_bias =
    computes_bias<Bound> || is_device_table<Bound> || stores_bias<Bound>;

template <class Bound>
concept does_more_than_tabulate =
    gates_rows<Bound> || masks_range<Bound> || masks_elements<Bound> || scales_rows<Bound>;

/// What the device has of a policy; `Given`, where positions are given per token.
template <class Policy, bool Given, class Bound = bound_policy<Policy>>
using device_policy = std::conditional_t<
    is_rotation<Policy>, std::conditional_t<Given, device_turns, device_rotation>,
    std::conditional_t<
        tabulates_bias<Policy>,
        device_table<std::conditional_t<does_more_than_tabulate<Bound>, Bound, nothing_else>>,
        Bound>>;

/// One query head of one sequence.
template <class... Bound>
struct device_head {
  std::tuple<Bound...> bound;
  score_factors factors;
  float sink;  // logit, -inf for none
};

/// Where statistics of rows are written, null where they are not asked for.
struct device_statistics {
  view<float, 3> max_probability{};
  view<float, 3> entropy{};
  view<float, 3> logit_count{};
  view<float, 3> logit_mean{};
  view<float, 3> logit_variance{};
  bool any = false;
};

/// `Bound` are device policies.
template <multiplied T, class Out, class... Bound>
struct forward_call {
  using stored = T;
  using head_type = device_head<Bound...>;
  /// Keys and queries are turned when they meet.
  static constexpr bool rotates = (std::is_same_v<Bound, device_rotation> || ... || false);
  /// Both are turned before.
  static constexpr bool turns_tokens = (std::is_same_v<Bound, device_turns> || ... || false);
  /// Whether the biases can be bounded, and nothing else raises scores by an unknown amount.
  static constexpr bool bounds = (bounds_bias<Bound> || ... || false) &&
                                 ((bounds_bias<Bound> || !is_device_bias<Bound>) && ... && true) &&
                                 ((!scales_rows<Bound> && !places_tokens<Bound>) && ... && true) &&
                                 !rotates;

  view<Out, 4> out;
  view<const T, 4> q;
  view<const T, 4> k;
  view<const T, 4> v;
  view<float, 3> lse;  // null where not asked for
  device_statistics statistics;
  bool stores_pairs;  // neighbouring channels of out can be stored in one piece
  index_t group;      // query heads of a key head
  const device_sequence* sequences;
  const head_type* heads;  // [sequence][query head], or [query head] where sequences are the same
  index_t heads_of_sequence;  // from one sequence to the next, 0 where they are the same
  index_t key_heads;
  float* key_norms =
      nullptr;  // [sequence][key head][tile] where tiles are left out by a bound (tile_bound.hpp)
  index_t norm_tiles = 0;  // room for so many of a head
  chunk_states states{};   // of sequences that are split

  RELPOS_DEVICE const head_type& head(index_t sequence, index_t query_head) const {
    return heads[sequence * heads_of_sequence + query_head];
  }
  RELPOS_DEVICE float& key_norm(index_t sequence, index_t key_head, index_t tile) const {
    return key_norms[(sequence * key_heads + key_head) * norm_tiles + tile];
  }
};

}  // namespace relpos::inline RELPOS_ABI
