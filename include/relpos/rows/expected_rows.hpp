#pragma once
// Rows that will be read soon, and are fetched into the cache while others are computed with.

#include <algorithm>

#include "relpos/call/kv_source.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/rows/prefetch_row.hpp"

namespace relpos::inline RELPOS_ABI {

/// At most `Capacity` rows, in the form in which they are stored.
template <index_t Capacity>
class expected_rows {
 public:
  /// Finds the rows `range`, to be fetched in `steps` steps; none if their channels are not
  /// contiguous.
  template <stored_rows Rows>
  void find(const Rows& rows, const key_range& range, index_t channels, index_t steps) {
    clear();
    if (!rows.are_contiguous()) return;
    using stored = typename Rows::stored;
    const stored* found[Capacity];
    left_ = range.last - range.first;
    rows_of_step_ = ceil_div(left_, steps);
    bytes_ = bytes_of_row<stored>(channels);
    rows.find(range.first, left_, found);
    std::copy(found, found + left_, rows_);
  }
  void clear() { left_ = 0; }

  /// Fetches the rows of one step: all rows at once would delay the code after it.
  RELPOS_INLINE void fetch() {
    const index_t last = std::max<index_t>(left_ - rows_of_step_, 0);
    while (left_ > last) prefetch_row(rows_[--left_], bytes_);
  }

 private:
  index_t left_ = 0;
  index_t rows_of_step_ = 0;
  index_t bytes_ = 0;
  const void* rows_[Capacity];
};

}  // namespace relpos::inline RELPOS_ABI
