#pragma once

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// The first positions of a sequence alone, k_pos < count: the attention sinks that a sliding window keeps
/// (Xiao et al., arXiv 2309.17453), as `either{band{1023, 0}, sinks{4}}` beside `causal{}`.
struct sinks {
  index_t count;

  constexpr sinks(std::integral auto positions) : count(static_cast<index_t>(positions)) {}

  constexpr key_range visible_keys(index_t) const { return {key_range::everything().first, count}; }
  status check(const attention_shape&) const { return check_extent("sinks", "count", count, 0); }
};

}  // namespace relpos::inline RELPOS_ABI
