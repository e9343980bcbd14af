#pragma once
// The sequences of a batch: entries of a tensor's first axis, or, in a ragged batch, ranges of rows
// of its one entry.

#include <algorithm>

#include "relpos/core/index_list.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

struct row_range {
  index_t first = 0;
  index_t count = 0;
};

/// The number of sequences: `entries` of a tensor, or, with cumulative lengths `starts`, one less
/// than their number.
constexpr index_t sequence_count(index_t entries, const index_list& starts) {
  return starts.empty() ? entries : starts.size() - 1;
}

/// The rows of one sequence; `length` rows if there are no cumulative lengths.
constexpr row_range rows_of(index_t sequence, index_t length, const index_list& starts) {
  if (starts.empty()) return {0, length};
  return {starts[sequence], starts[sequence + 1] - starts[sequence]};
}

constexpr index_t longest_sequence(index_t length, const index_list& starts) {
  if (starts.empty()) return length;
  index_t longest = 0;
  for (index_t i = 0; i + 1 < starts.size(); ++i) {
    longest = std::max(longest, starts[i + 1] - starts[i]);
  }
  return longest;
}

/// The view [1, ...] of one sequence; rows are the third axis. A null view is returned unchanged.
template <class T, int Rank>
constexpr view<T, Rank> sequence_rows(const view<T, Rank>& tensor, index_t sequence,
                                      const index_list& starts) {
  if (tensor.data == nullptr) return tensor;
  if (starts.empty()) return tensor.slice(0, sequence, 1);
  const row_range rows = rows_of(sequence, tensor.shape[2], starts);
  return tensor.slice(2, rows.first, rows.count);
}

}  // namespace relpos::inline RELPOS_ABI
