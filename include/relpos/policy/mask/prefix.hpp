#pragma once

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// A prefix language model (T5, PaliGemma): every query sees positions below `count`, and later
/// positions causally.
///
///   k_pos <= q_pos or k_pos < count
struct prefix {
  index_t count;

  constexpr prefix(std::integral auto positions) : count(static_cast<index_t>(positions)) {}

  constexpr key_range visible_keys(index_t q_pos) const {
    return {key_range::everything().first, q_pos + 1 > count ? q_pos + 1 : count};
  }
  status check(const attention_shape&) const { return check_extent("prefix", "count", count, 0); }
};

}  // namespace relpos::inline RELPOS_ABI
