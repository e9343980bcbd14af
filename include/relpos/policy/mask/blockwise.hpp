#pragma once
// Masks of blocks of positions: block b holds [b block, (b + 1) block).

#include <concepts>

#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

inline status check_block(const char* name, index block) {
  if (1 <= block && block <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: block is %lld, must be 1 to 2^60", name,
                       static_cast<long long>(block));
}

/// Blockwise causal attention (Sun et al., "A Length-Extrapolatable Transformer", arXiv 2212.10554): a query
/// sees its own block causally and the whole of the block before,
///
///   max(0, (floor(q_pos / block) - 1) block) <= k_pos <= q_pos
///
/// The paper's block is half of the training length, so that no query sees further than in training. Rows
/// below 2 block are those of causal attention.
struct blockwise_causal {
  index block;

  constexpr blockwise_causal(std::integral auto length) : block(static_cast<index>(length)) {}

  constexpr key_range visible_keys(index q_pos) const {
    const index before = (floor_div(q_pos, block) - 1) * block;
    return {before > 0 ? before : 0, q_pos + 1};
  }
  status check(const attention_shape&) const { return check_block("blockwise_causal", block); }
};

/// Block lower triangular: a query sees its own block, later positions included, and all that is before.
///
///   k_pos < (floor(q_pos / block) + 1) block
struct block_lower {
  index block;

  constexpr block_lower(std::integral auto length) : block(static_cast<index>(length)) {}

  constexpr key_range visible_keys(index q_pos) const {
    return {key_range::everything().first, (floor_div(q_pos, block) + 1) * block};
  }
  status check(const attention_shape&) const { return check_block("block_lower", block); }
};

}  // namespace relpos::inline RELPOS_ABI
