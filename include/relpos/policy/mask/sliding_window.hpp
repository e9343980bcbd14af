#pragma once
// Sliding windows, and the attention sinks that stay visible beside them.

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup masks
/// @{

/// A window of left + 1 + right keys around the query: q_pos - left <= k_pos <= q_pos + right.
///
/// @snippet reference.cpp windows
struct band {
  index_t left;   ///< keys before the query, from 0 to 2^60
  index_t right;  ///< keys after the query, from 0 to 2^60

  /// Any integers >= 0.
  constexpr band(std::integral auto left_keys, std::integral auto right_keys)
      : left(static_cast<index_t>(left_keys)), right(static_cast<index_t>(right_keys)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const {
    return {q_pos - left, q_pos + right + 1};
  }
  constexpr index_t window_start(index_t q_pos) const { return q_pos - left; }

  status check(const attention_shape&) const {
    const auto fits = [](index_t extent) { return 0 <= extent && extent <= max_offset; };
    if (fits(left) && fits(right)) return {};
    return status::error(status_code::invalid_value,
                         "band: left is %lld and right is %lld, must be 0 to 2^60",
                         static_cast<long long>(left), static_cast<long long>(right));
  }
};

/// The causal window of `size` keys, including the query's own: q_pos - size < k_pos <= q_pos.
///
/// It is like sliding_window in the configurations of Mistral, Gemma 3 and gpt-oss. Equal to
/// `band{size - 1, 0}`. (The left windows of flash-attn, FlashInfer and ONNX do not count the
/// query's own key: `size` is larger by one.)
///
/// @snippet reference.cpp windows
struct sliding_window {
  index_t size;  ///< keys, from 1 to 2^60

  /// Takes any integer.
  constexpr sliding_window(std::integral auto keys) : size(static_cast<index_t>(keys)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t q_pos) const { return {q_pos - size + 1, q_pos + 1}; }
  constexpr index_t window_start(index_t q_pos) const { return q_pos - size + 1; }

  status check(const attention_shape&) const {
    return check_extent("sliding_window", "size", size, 1);
  }
};

/// The first positions of a sequence alone, k_pos < count: attention sinks.
///
/// A sliding window keeps them (Xiao et al., arXiv 2309.17453), as in
/// `either{sliding_window{1024}, sinks{4}}` together with `causal{}`.
///
/// @snippet reference.cpp both_either
struct sinks {
  index_t count;  ///< positions, from 0 to 2^60

  /// Takes any integer.
  constexpr sinks(std::integral auto positions) : count(static_cast<index_t>(positions)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_range visible_keys(index_t) const { return {key_range::everything().first, count}; }
  status check(const attention_shape&) const { return check_extent("sinks", "count", count, 0); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
