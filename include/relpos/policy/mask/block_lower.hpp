#pragma once

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// Block lower triangular: a query sees its own block of positions, [b block, (b + 1) block), later ones
/// included, and all that is before.
///
///   k_pos < (floor(q_pos / block) + 1) block
struct block_lower {
  index_t block;

  constexpr block_lower(std::integral auto length) : block(static_cast<index_t>(length)) {}

  constexpr key_range visible_keys(index_t q_pos) const {
    return {key_range::everything().first, (floor_div(q_pos, block) + 1) * block};
  }
  status check(const attention_shape&) const {
    return check_extent("block_lower", "block", block, 1);
  }
};

}  // namespace relpos::inline RELPOS_ABI
