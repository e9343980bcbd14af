#pragma once

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// Every query sees every key: the same as no mask.
struct full {
  constexpr key_range visible_keys(index_t) const { return key_range::everything(); }
};

/// k_pos <= q_pos.
struct causal {
  constexpr key_range visible_keys(index_t q_pos) const {
    return {key_range::everything().first, q_pos + 1};
  }
};

}  // namespace relpos::inline RELPOS_ABI
