#pragma once

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup masks
/// @{

/// Causal attention behind a prefix that every query sees (T5, PaliGemma).
///
///   k_pos <= q_pos or k_pos < count
///
/// @snippet reference.cpp prefix
struct prefix {
  index_t count;  ///< positions, from 0 to 2^60

  /// Takes any integer.
  constexpr prefix(std::integral auto positions) : count(static_cast<index_t>(positions)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const {
    return {key_range::everything().first, q_pos + 1 > count ? q_pos + 1 : count};
  }
  status check(const attention_shape&) const { return check_extent("prefix", "count", count, 0); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
