#pragma once
// Attention by blocks of 128 query rows, each over the keys up to its last row: half of the work of
// whole matrices.

#include <algorithm>

#include "causal_softmax.hpp"

namespace relpos::bench {

/// Calls scores(head, first, block) to write `block` [rows][keys] = scale Q K^T of queries from
/// `first` on and the keys up to the last of them, and values(head, block, out) to write `out` =
/// block V.
template <class Scores, class Values>
void attend_by_blocks(const peer_call& call, matrix& workspace, const Scores& scores,
                      const Values& values) {
  constexpr index_t block_rows = 128;
  Eigen::VectorXf inverse_sums(block_rows);
  for (index_t h = 0; h < call.q.shape[1]; ++h) {
    head of(call, h);
    for (index_t first = 0; first < of.length(); first += block_rows) {
      const index_t rows = std::min(block_rows, of.length() - first);
      Eigen::Map<matrix> block(workspace.data(), rows, first + rows);
      scores(of, first, block);
      causal_weights(block, of, first, inverse_sums);
      auto out = of.out.middleRows(first, rows);
      values(of, block, out);
      out.array().colwise() *= inverse_sums.head(rows).array();
    }
  }
}

inline matrix block_workspace(const peer_call& call) { return {128, call.q.shape[2]}; }

}  // namespace relpos::bench
