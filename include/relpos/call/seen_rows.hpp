#pragma once
// The rows that any query of a sequence sees.

#include <algorithm>
#include <tuple>

#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/shape.hpp"

namespace relpos::inline RELPOS_ABI {

/// The hull of the rows of a sequence that range masks leave to any of its queries.
template <class... Policies>
key_range seen_rows(const std::tuple<Policies...>& policies, index_t sequence,
                    const attention_shape& shape, const positions& position) {
  constexpr bool by_head =
      ((masks_range<bound_policy<Policies>> && binds<Policies>) || ... || false);
  key_range seen{shape.key_length, 0};
  for (index_t head = 0; head < (by_head ? shape.query_heads : 1); ++head) {
    const auto bound = bind_all(policies, sequence, head);
    for (index_t row = 0; row < shape.query_length; ++row) {
      const key_range keys = visible_key_rows(bound, row + position.query_offset,
                                              position.key_offset, shape.key_length);
      if (keys.first == keys.last) continue;
      seen = {std::min(seen.first, keys.first), std::max(seen.last, keys.last)};
    }
  }
  return seen;
}

}  // namespace relpos::inline RELPOS_ABI
