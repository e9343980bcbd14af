#pragma once
// Explicit positions, one per token, for rows that are not consecutive from one offset.
// They serve left padding, packed sequences that restart, trees of drafts, and axes of time, height
// and width (M-RoPE). Rotations, biases of a distance and logit scaling by position read them.
// Masks use row + offset instead: left_padding, documents and tree restrict the keys that a query
// sees. Kernels read these positions through call/row_positions.hpp.

//   relpos::attention(q, k, v, relpos::rotary{rope}, relpos::causal{},
//                     relpos::token_positions{q_positions, k_positions});

#include "relpos/check/positions.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup batches
/// @{

/// Explicit positions of tokens, on one axis or several (M-RoPE).
///
/// `token_positions{queries, keys}`: views or tensors of relpos::index_t, [batch, query] and
/// [batch, key], or with one position per axis, [axis, batch, query] and [axis, batch, key]. A
/// batch of extent 1 serves all entries. Positions are within +-2^60, in any order; the caller
/// keeps them alive. Biases and logit scaling read the first axis.
///
/// A tabulated bias is evaluated for every distance from the smallest to the largest between any
/// query and any key, visible or not; a bias with `varies`, only where it varies. More than
/// query_length + key_length - 1 distances are refused if there are more than 4096, unless the bias
/// varies over no more than that. Rotations that decay with distance (XPOS) are refused, because a
/// key's decay is relative to its neighbours' decay. Padding and restarts change no visible
/// distance, so XPOS needs only their masks, without token_positions.
///
/// @copydoc token_positions.hpp
/// @snippet reference.cpp token_positions
struct token_positions {
  view<const index_t, 3> queries;  ///< [axis, batch or 1, query]
  view<const index_t, 3> keys;     ///< [axis, batch or 1, key]

  /// One position per token: [batch or 1, query] and [batch or 1, key].
  constexpr token_positions(view<const index_t, 2> query_positions,
                            view<const index_t, 2> key_positions)
      : queries(with_one_axis(query_positions)), keys(with_one_axis(key_positions)) {}
  /// One position per token and axis.
  constexpr token_positions(view<const index_t, 3> query_positions,
                            view<const index_t, 3> key_positions)
      : queries(query_positions), keys(key_positions) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr index_t axes() const { return queries.shape[0]; }
  constexpr index_t query_position(index_t batch, index_t row, index_t axis) const {
    return explicit_position(queries, batch, row, axis);
  }
  constexpr index_t key_position(index_t batch, index_t row, index_t axis) const {
    return explicit_position(keys, batch, row, axis);
  }

  status check(const attention_shape& shape) const {
    const index_t batch = shape.batch;
    const char* const queries_name = "token_positions: queries";
    if (status valid = check_explicit_positions(queries_name, queries, batch, shape.query_length);
        !valid) {
      return valid;
    }
    const char* const keys_name = "token_positions: keys";
    if (status valid = check_explicit_positions(keys_name, keys, batch, shape.key_length); !valid) {
      return valid;
    }
    if (queries.shape[0] == keys.shape[0]) return {};
    return status::error(status_code::invalid_shape,
                         "token_positions: queries have %lld axes and keys %lld, must be equal",
                         static_cast<long long>(queries.shape[0]),
                         static_cast<long long>(keys.shape[0]));
  }
  bool reads(const byte_range& memory) const {
    return byte_range::of(queries).overlaps(memory) || byte_range::of(keys).overlaps(memory);
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
