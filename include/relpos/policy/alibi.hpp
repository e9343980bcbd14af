#pragma once
// ALiBi: bias = slope[head] * (k_pos - q_pos), added after scale, for causal attention. (For keys
// after the query this bias is a reward that grows with distance; encoders use one of the forms in
// alibi_encoder.hpp.)
// Press, Smith, Lewis, "Train Short, Test Long" (arXiv 2108.12409), section 3.
//
// The bias is computed from the difference of integer positions, so it is as exact at position 2^40
// as at 0. (The form slope * k_pos, without q_pos, is off by 7.8e-3 at position 131k in float32.)
// Differences up to 2^24 are exact; larger ones have a relative error of at most 2^-24. Cost: two
// instructions per vector of scores.

#include <cmath>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/head_policies.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/core/math.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses a list of slopes that does not have one per query head. `policy` is the policy's name in
/// the message, `name` the list's.
inline status check_slopes(const char* policy, const char* name, borrowed_data slopes,
                           const attention_shape& shape) {
  if (slopes.size > 0 || shape.query_heads == 0) {
    return check_per_head(policy, name, slopes, shape);
  }
  return status::error(status_code::invalid_shape,
                       "%s: 0 %s for a query of %lld heads: alibi_slopes gives none where a "
                       "number of heads is negative or a head_shard begins beyond all heads, "
                       "see head_shard::check",
                       policy, name, static_cast<long long>(shape.query_heads));
}

/// @addtogroup encodings
/// @{

/// ALiBi: a bias that is linear in the distance, for causal attention.
///
/// `alibi{slopes}`: one slope per query head (`alibi_slopes`); the caller keeps them alive.
///
/// `multiplier` scales all slopes: `alibi_before_scale(head_dim)` for models that add the bias
/// before dividing by sqrt(head_dim) (Falcon-RW), train_length / length for position interpolation.
///
/// @copydoc alibi.hpp
/// @snippet reference.cpp alibi
struct alibi {
  borrowed_data slopes;     ///< [query heads]
  float multiplier = 1.0f;  ///< of every slope

  /// The slopes of all query heads, and the multiplier.
  constexpr alibi(borrowed_data head_slopes, double factor = 1.0)
      : slopes(head_slopes), multiplier(static_cast<float>(factor)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr linear_bias bind(index_t head) const { return {slopes.data[head] * multiplier}; }
  status check(const attention_shape& shape) const {
    return check_slopes("alibi", "slopes", slopes, shape);
  }
  bool reads(const byte_range& memory) const { return slopes.overlaps(memory); }
};

/// The `multiplier` for models that compute (q.k + bias) / sqrt(head_dim), where the bias is
/// divided too.
inline float alibi_before_scale(index_t head_dim) {
  return 1.0f / std::sqrt(static_cast<float>(head_dim));
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
