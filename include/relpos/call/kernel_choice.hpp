#pragma once
// Which sequences are for the kernel of few queries, which is bound by reading keys and values.

#include "relpos/call/options.hpp"
#include "relpos/core/shape.hpp"

namespace relpos::inline RELPOS_ABI {

/// Query rows that share one pass over the keys and values of a head: those of all heads of a group, for each query.
inline constexpr index_t few_queries = 16;

/// Whether a sequence is one for the kernel of few queries.
inline bool is_decoded(const options& choice, const attention_shape& sequence) {
  if (choice.statistics.any() || sequence.key_heads == 0) return false;
  if (choice.kernel != kernel_class::automatic) return choice.kernel == kernel_class::decode;
  const index_t rows_of_key_head =
      sequence.query_length * (sequence.query_heads / sequence.key_heads);
  return sequence.query_length == 1 || rows_of_key_head <= few_queries;
}

}  // namespace relpos::inline RELPOS_ABI
