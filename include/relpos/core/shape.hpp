#pragma once
// The sizes of one attention call, read from its arguments.

#include "relpos/core/index.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup own_policies
/// @{

/// The sizes of one attention call, which a policy's `check` reads.
struct attention_shape {
  index_t batch = 0;         ///< sequences
  index_t query_heads = 0;   ///< heads of q and out
  index_t key_heads = 0;     ///< divides query_heads: grouped-query attention
  index_t query_length = 0;  ///< rows of the longest sequence of q
  index_t key_length = 0;    ///< rows of the longest sequence of k
  index_t head_dim = 0;      ///< channels of q and k
  index_t value_dim = 0;     ///< channels of v and out

  /// The sizes of a call over tensors.
  template <class Query, class Key, class Value>
  static attention_shape of(const view<Query, 4>& q, const view<Key, 4>& k,
                            const view<Value, 4>& v) {
    return {q.shape[0], q.shape[1], k.shape[1], q.shape[2], k.shape[2], q.shape[3], v.shape[3]};
  }

  /// The key head that serves a query head.
  constexpr index_t key_head(index_t query_head) const {
    return query_head / (query_heads / key_heads);
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
