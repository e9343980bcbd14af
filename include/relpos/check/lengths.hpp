#pragma once
// Checks that depend on the lengths and offsets of the sequences of a call.

#include <algorithm>
#include <tuple>

#include "relpos/call/problem.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses a window that reaches rows which the source has evicted. Only the first query of a
/// sequence is checked, because it reaches furthest back.
template <class Problem>
status check_windows(const Problem& problem) {
  constexpr index_t everything = key_range::everything().first;
  for (index_t sequence = 0; sequence < problem.shape.batch; ++sequence) {
    const key_range evicted = problem.source.evicted(sequence);
    const attention_shape shape = problem.shape_of(sequence);
    if (evicted.last <= evicted.first || shape.query_length == 0) continue;
    const positions position = problem.position_of(sequence);
    for (index_t head = 0; head < shape.query_heads; ++head) {
      index_t start = everything;  // the latest start of a sliding window
      index_t first = everything;  // the first key that all masks may show
      const auto ask = [&]<class HeadPolicy>(const HeadPolicy& mask) {
        const index_t seen = first_seen(mask, position.query_offset);
        if constexpr (slides_window<HeadPolicy>) start = std::max(start, seen);
        first = std::max(first, seen);
      };
      std::apply([&](const auto&... policy) { (ask(policy), ...); },
                 bind_all(problem.policies, sequence, head));
      const index_t oldest = position.key_offset + evicted.last;
      if (start == everything || first >= oldest) continue;
      return status::error(
          status_code::invalid_value,
          "cache: the query at position %lld of sequence %lld sees keys from %lld on, but the "
          "ring has evicted keys before %lld: a ring needs sinks + window + rows appended at once "
          "- 1 rows",
          static_cast<long long>(position.query_offset), static_cast<long long>(sequence),
          static_cast<long long>(first), static_cast<long long>(oldest));
    }
  }
  return {};
}

/// Refuses sequences that a policy, or the source, cannot serve.
template <class Problem>
status check_sequences(const Problem& problem) {
  status result;
  const auto ask = [&](const auto& policy) {
    if constexpr (requires { policy.check_sequences(problem); }) {
      if (result) result = policy.check_sequences(problem);
    }
  };
  std::apply([&](const auto&... policy) { (ask(policy), ...); }, problem.policies);
  if constexpr (Problem::source_type::evicts) {
    if (result) result = check_windows(problem);
  }
  return result;
}

}  // namespace relpos::inline RELPOS_ABI
