#pragma once
// The rotation of the keys of a call. Preparation rotates the keys of all heads before the first
// query, or each worker rotates the keys of a head before it computes its queries
// (call_memory::rotates_by_worker). Both call the same function: compilers may fuse a product and a
// sum in one inlined copy and not in another, and a row would have other bits.

#include "relpos/call/problem.hpp"
#include "relpos/call/row_positions.hpp"
#include "relpos/rows/explicit_rotation.hpp"
#include "relpos/rows/rotation.hpp"

namespace relpos::inline RELPOS_ABI {

/// Rotates key rows `range` of one head to `rotated`, [key][head_dim]. `memory` has room for the
/// rotation of one row.
template <class Isa, class Problem, class Memory>
RELPOS_NOINLINE void rotate_keys(const Problem& problem, index_t sequence, index_t key_head,
                                 const key_range& range, const Memory& memory, float* rotated) {
  const auto stored = problem.source.template keys<Isa>(sequence, key_head);
  using stored_type = std::decay_t<decltype(stored)>;
  const index_t head_dim = problem.shape.head_dim;
  const auto rotate_all = [&](const auto& source) {
    for (index_t row = range.first; row < range.last; ++row) {
      source.load(row, rotated + row * head_dim);
    }
  };
  with_rotation(problem.policies, [&](const auto& policy) {
    if constexpr (rotates_by_blocks<decltype(Problem::policies)>) {
      const rotation_rows rotations = policy.rotations();
      rotate_all(rotated_rows<Isa, stored_type>{
          stored, rotations, rotations.keys, problem.position_of(sequence).key_offset,
          problem.source.length(sequence), head_dim, memory.stored_row});
    } else {
      const auto position = row_positions(problem.policies, positions{}, sequence);
      const auto key_position = [&](index_t row, index_t axis) { return position.key(row, axis); };
      rotate_all(explicit_rotation<Isa, stored_type, std::decay_t<decltype(policy)>,
                                   decltype(key_position)>(
          stored, policy, key_position, head_dim, memory.stored_row, memory.rotors_of_row));
    }
  });
}

}  // namespace relpos::inline RELPOS_ABI
