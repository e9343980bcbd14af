#pragma once
// Masks by blocks of positions.

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup masks
/// @{

/// Block lower triangular: a query sees its own block of positions, [b block, (b + 1) block),
/// including later positions in it, and all positions before the block.
///
///   k_pos < (floor(q_pos / block) + 1) block
///
/// @snippet reference.cpp blocks
struct block_lower {
  index_t block;  ///< positions, from 1 to 2^60

  /// Takes any integer.
  constexpr block_lower(std::integral auto length) : block(static_cast<index_t>(length)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const {
    return {key_range::everything().first, (floor_div(q_pos, block) + 1) * block};
  }
  status check(const attention_shape&) const {
    return check_extent("block_lower", "block", block, 1);
  }
};

/// Chunked attention (Llama 4): a query sees its own chunk causally, and nothing before it. Each
/// chunk has the result that it has alone.
///
///   floor(q_pos / chunk) chunk <= k_pos <= q_pos
///
/// Behind left padding, chunks count from the first token: `left_padding{counts,
/// chunked_causal{chunk}}`.
///
/// @snippet reference.cpp blocks
struct chunked_causal {
  index_t chunk;  ///< positions, from 1 to 2^60

  /// Takes any integer.
  constexpr chunked_causal(std::integral auto length) : chunk(static_cast<index_t>(length)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const { return {window_start(q_pos), q_pos + 1}; }
  constexpr index_t window_start(index_t q_pos) const { return floor_div(q_pos, chunk) * chunk; }

  status check(const attention_shape&) const {
    return check_extent("chunked_causal", "chunk", chunk, 1);
  }
};

/// Blockwise causal attention: a query sees its own block causally, and the whole block before it.
///
/// Sun et al., "A Length-Extrapolatable Transformer", arXiv 2212.10554. Blocks are positions [b
/// block, (b + 1) block):
///
///   max(0, (floor(q_pos / block) - 1) block) <= k_pos <= q_pos
///
/// The paper's block is half of the training length, so that no query sees further than in
/// training. Rows at positions 0 to 2 block - 1 are equal to causal attention.
///
/// @snippet reference.cpp blocks
struct blockwise_causal {
  index_t block;  ///< positions, from 1 to 2^60

  /// Takes any integer.
  constexpr blockwise_causal(std::integral auto length) : block(static_cast<index_t>(length)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const {
    const index_t start = (floor_div(q_pos, block) - 1) * block;
    return {start > 0 ? start : 0, q_pos + 1};
  }
  constexpr index_t window_start(index_t q_pos) const { return visible_keys(q_pos).first; }

  status check(const attention_shape&) const {
    return check_extent("blockwise_causal", "block", block, 1);
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
