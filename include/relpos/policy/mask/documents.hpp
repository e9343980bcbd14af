#pragma once
// Several documents packed into one sequence, none of which sees another.

#include <algorithm>

#include "relpos/core/named_data.hpp"
#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// `documents{starts}`: document i is at positions [starts[i], starts[i + 1]); the last number is where the
/// last one ends. Positions in no document see nothing and are not seen. With `causal{}` for a decoder.
///
/// `starts` holds relpos::index (64-bit) in ascending order, and is kept by the caller: the cumulative
/// lengths that variable-length kernels take. Costs a binary search per query row.
struct documents {
  named_values<index> starts;

  constexpr documents(named_values<index> cumulative) : starts(cumulative) {}

  constexpr key_range visible_keys(index q_pos) const {
    const index* const end = starts.data + starts.size;
    const index* const after = std::upper_bound(starts.data, end, q_pos);
    if (after == starts.data || after == end) return {};
    return {after[-1], *after};
  }

  status check(const attention_shape&) const {
    if (starts.data == nullptr && starts.size > 0) {
      return status::error(status_code::null_data, "documents: starts are null, %lld of them",
                           static_cast<long long>(starts.size));
    }
    for (index i = 1; i < starts.size; ++i) {
      if (starts.data[i - 1] <= starts.data[i]) continue;
      return status::error(status_code::invalid_value,
                           "documents: starts must ascend, but %lld is followed by %lld at %lld",
                           static_cast<long long>(starts.data[i - 1]),
                           static_cast<long long>(starts.data[i]), static_cast<long long>(i));
    }
    return {};
  }
  bool reads(const byte_range& memory) const { return starts.overlaps(memory); }
};

}  // namespace relpos::inline RELPOS_ABI
