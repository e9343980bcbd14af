#pragma once
// The parts of a call that both kernels read: rows of keys and queries in the form that the product
// takes, and bias tables.

#include <tuple>
#include <type_traits>

#include "relpos/call/bias_table.hpp"
#include "relpos/call/problem.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/rows/explicit_rotation.hpp"
#include "relpos/rows/rotation.hpp"
#include "relpos/rows/strided_rows.hpp"

namespace relpos::inline RELPOS_ABI {

/// The keys of one head, rotated if a policy rotates them, as `worker` reads them.
template <class Isa, class Problem, class Workspace>
auto keys_of(const problem_sequence<Problem>& sequence, const Workspace& workspace,
             index_t key_head, index_t worker) {
  if constexpr (Workspace::rotates_keys) {
    return packed_rows{workspace.rotated_keys(sequence.call.source, sequence.at, key_head, worker),
                       sequence.shape.head_dim};
  } else {
    return sequence.call.source.template keys<Isa>(sequence.at, key_head);
  }
}

/// The queries of one head as they are stored.
template <class Isa, class Problem>
auto stored_query_rows(const problem_sequence<Problem>& sequence, index_t head) {
  using stored_type = std::remove_const_t<typename decltype(Problem::q)::value_type>;
  return strided_rows<Isa, stored_type>(sequence.q(), 0, head);
}

/// Calls use(row source) with the queries of one head. A rotating policy rotates them by their
/// offset in the block, or to their full position if positions are explicit.
template <class Isa, class Problem, class Workspace, class Use>
void with_query_rows(const problem_sequence<Problem>& sequence, index_t head,
                     const Workspace& memory, const Use& use) {
  const auto stored = stored_query_rows<Isa>(sequence, head);
  using source = std::remove_const_t<decltype(stored)>;
  using policies = decltype(Problem::policies);
  if constexpr (rotates_by_blocks<policies>) {
    with_rotation(sequence.call.policies, [&](const auto& policy) {
      const rotation_rows rotations = policy.rotations();
      use(rotated_rows<Isa, source>{stored, rotations, rotations.queries,
                                    sequence.position.query_offset, sequence.shape.query_length,
                                    sequence.shape.head_dim, memory.stored_row});
    });
  } else if constexpr (rotates_to_positions<policies>) {
    const auto position = row_positions(sequence.call.policies, sequence.position, sequence.at);
    const auto query_position = [&](index_t row, index_t axis) {
      return position.query(row, axis);
    };
    with_rotation(sequence.call.policies, [&](const auto& policy) {
      use(explicit_rotation<Isa, source, std::decay_t<decltype(policy)>, decltype(query_position)>(
          stored, policy, query_position, sequence.shape.head_dim, memory.stored_row,
          memory.rotors_of_row));
    });
  } else {
    use(stored);
  }
}

/// The bias table of policy `I` for the keys of a piece; empty if the policy has none.
template <std::size_t I, class Problem, class Workspace>
bias_table table_of([[maybe_unused]] const problem_sequence<Problem>& sequence,
                    [[maybe_unused]] const Workspace& workspace, [[maybe_unused]] index_t head,
                    [[maybe_unused]] index_t piece) {
  using policy_type = std::tuple_element_t<I, decltype(Problem::policies)>;
  if constexpr (has_bias_table<policy_type>) {
    return workspace.table(I, workspace.sets().of(sequence.at, piece), head);
  } else {
    return {};
  }
}

}  // namespace relpos::inline RELPOS_ABI
