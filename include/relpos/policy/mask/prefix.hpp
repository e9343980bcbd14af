#pragma once
// Masks in which the beginning of a sequence is special.

#include <concepts>

#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

inline status check_count(const char* name, index count) {
  if (0 <= count && count <= max_offset) return {};
  return status::error(status_code::invalid_value, "%s: count is %lld, must be 0 to 2^60", name,
                       static_cast<long long>(count));
}

/// A prefix language model (T5, PaliGemma): positions [0, count) are seen by every query, what follows
/// causally.
///
///   k_pos <= q_pos or k_pos < count
struct prefix {
  index count;

  constexpr prefix(std::integral auto positions) : count(static_cast<index>(positions)) {}

  constexpr key_range visible_keys(index q_pos) const {
    return {key_range::everything().first, q_pos + 1 > count ? q_pos + 1 : count};
  }
  status check(const attention_shape&) const { return check_count("prefix", count); }
};

/// The first positions of a sequence alone, k_pos < count: the attention sinks that a sliding window keeps
/// (Xiao et al., arXiv 2309.17453), as `either{band{1023, 0}, sinks{4}}` beside `causal{}`.
struct sinks {
  index count;

  constexpr sinks(std::integral auto positions) : count(static_cast<index>(positions)) {}

  constexpr key_range visible_keys(index) const { return {key_range::everything().first, count}; }
  status check(const attention_shape&) const { return check_count("sinks", count); }
};

}  // namespace relpos::inline RELPOS_ABI
