#pragma once

#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup masks
/// @{

/// Every query sees every key: the same as no mask.
///
/// @snippet reference.cpp causal
struct full {
  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t) const { return key_range::everything(); }
};

/// A query sees no key after it: k_pos <= q_pos.
///
/// @snippet reference.cpp causal
struct causal {
  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const {
    return {key_range::everything().first, q_pos + 1};
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
