#pragma once
// A tree of drafted tokens behind a sequence: speculative decoding verifies all of its branches in
// one call (Miao et al., "SpecInfer", arXiv 2305.09781; Cai et al., "Medusa", arXiv 2401.10774).
//
//   the           parents = {-1, 0, 0, 1}: "cat" and "dog" follow "the", "sat" follows "cat"
//    |- cat - sat
//    `- dog

//   out = relpos::attention(q, k, v, relpos::rotary{rope}, relpos::tree{parents, cached},
//                           relpos::token_positions{draft_positions, row_positions});
//
// `tree_positions(parents, cached)` returns the positions of the drafts; examples/draft_tree.cpp is
// the complete program.

#include <concepts>
#include <span>
#include <vector>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup batches
/// @{

/// The mask of a tree of drafted tokens behind a sequence (speculative decoding).
///
/// `tree{parents, first}`: node i is the row at position first + i. Its parent is parents[i] < i,
/// or -1 if the node follows the sequence itself. A node sees all positions before `first`, its
/// ancestors and itself. Rows behind the tree see the positions before `first` and are not seen.
///
/// `tree{parents, firsts}` has one `first` per sequence, for sequences of unequal length. With one
/// `first` for all, a call is refused if the queries of its sequences begin at different positions.
///
/// All heads and sequences have the same tree; the caller keeps the lists alive. A tile with keys
/// of the tree costs a walk towards the root per element; tiles before the tree cost nothing.
/// Siblings share a position: use `token_positions`.
///
/// @copydoc tree.hpp
/// @snippet reference.cpp tree
struct tree {
  borrowed_values<index_t> parents;  ///< [node]: a node before it, or -1
  index_t first = 0;                 ///< the position of node 0, within +-2^60
  borrowed_values<index_t> firsts;   ///< [sequence], instead of `first`

  /// One first position for all sequences.
  constexpr tree(borrowed_values<index_t> node_parents, std::integral auto first_position)
      : parents(node_parents), first(static_cast<index_t>(first_position)) {}
  /// One first position per sequence.
  constexpr tree(borrowed_values<index_t> node_parents, borrowed_values<index_t> first_positions)
      : parents(node_parents), firsts(first_positions), is_listed_(true) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_sequence {
    borrowed_values<index_t> parents;
    index_t first;

    constexpr bool keep(index_t q_pos, index_t k_pos) const {
      if (k_pos < first) return true;
      index_t node = q_pos - first;
      const index_t key = k_pos - first;
      if (node >= parents.size) return false;
      while (node > key) node = parents.data[node];
      return node == key;
    }
    constexpr tile_class classify(const tile& region) const {
      if (region.last_key <= first) return tile_class::full;
      const bool is_later = region.first_key >= first && region.first_key >= region.last_query;
      return is_later ? tile_class::skip : tile_class::partial;
    }
  };
  constexpr of_sequence bind(index_t sequence, index_t) const {
    return {parents, is_listed_ ? firsts.data[sequence] : first};
  }

  template <class Call>
  status check_sequences(const Call& call) const {
    if (is_listed_) return {};
    index_t reference = -1;  // the first with queries
    for (index_t sequence = 0; sequence < call.shape.batch; ++sequence) {
      if (call.shape_of(sequence).query_length == 0) continue;
      if (reference < 0) reference = sequence;
      const index_t reference_offset = call.position_of(reference).query_offset;
      const index_t query_offset = call.position_of(sequence).query_offset;
      if (query_offset == reference_offset) continue;
      return status::error(
          status_code::invalid_value,
          "tree: first is %lld for all sequences, but the queries of sequence %lld "
          "begin at position %lld and the queries of sequence %lld at %lld: give a list of "
          "firsts, one per sequence",
          static_cast<long long>(first), static_cast<long long>(sequence),
          static_cast<long long>(query_offset), static_cast<long long>(reference),
          static_cast<long long>(reference_offset));
    }
    return {};
  }

  status check(const attention_shape& shape) const {
    if (is_listed_ && firsts.size != shape.batch) {
      return status::error(status_code::invalid_shape, "tree: %lld firsts for %lld sequences",
                           static_cast<long long>(firsts.size),
                           static_cast<long long>(shape.batch));
    }
    if (is_listed_) {
      const status valid = check_positions_of("tree", "firsts", firsts, -max_offset);
      if (!valid) return valid;
    }
    if (parents.data == nullptr && parents.size > 0) {
      return status::error(status_code::null_data, "tree: parents are null, %lld of them",
                           static_cast<long long>(parents.size));
    }
    for (index_t node = 0; node < parents.size; ++node) {
      if (-1 <= parents.data[node] && parents.data[node] < node) continue;
      return status::error(status_code::invalid_value,
                           "tree: node %lld has parent %lld, must be a node before it or -1",
                           static_cast<long long>(node),
                           static_cast<long long>(parents.data[node]));
    }
    return check_offset("tree: first", first);
  }
  bool reads(const byte_range& memory) const {
    return parents.overlaps(memory) || firsts.overlaps(memory);
  }

 private:
  bool is_listed_ = false;  // `firsts` is used, not `first`
};

/// Returns the positions of a tree's nodes: `first` for nodes that follow the sequence, one more
/// for each generation. Empty if a parent is neither -1 nor a node before its child.
inline std::vector<index_t> tree_positions(std::span<const index_t> parents, index_t first) {
  std::vector<index_t> positions;
  for (const index_t parent : parents) {
    if (parent < -1 || parent >= static_cast<index_t>(positions.size())) return {};
    positions.push_back(parent < 0 ? first : positions[static_cast<std::size_t>(parent)] + 1);
  }
  return positions;
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
