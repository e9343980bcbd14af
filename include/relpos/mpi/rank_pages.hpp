#pragma once
// The pages of a cache that is spread over ranks page by page.

#include "relpos/contract/policy.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// @addtogroup mpi
/// @{

/// A mask that shows a rank the rows of its own pages: page p of the sequence is of rank p mod ranks.
///
/// Each rank has a paged cache of the whole sequence, whose block table names one spare page, of this
/// sequence alone, for all pages of other ranks. All ranks append all rows; rows of other ranks go to
/// the spare page, and this mask hides them. Whole tiles of hidden rows are not read if `page_rows` is a multiple of 128.
struct rank_pages {
  index_t page_rows;  ///< rows of a page, 1 to 2^30
  index_t rank;       ///< of this process
  index_t ranks;      ///< that share the sequence, 1 to 2^30

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr bool keep(index_t, index_t k_pos) const { return k_pos / page_rows % ranks == rank; }
  constexpr tile_class classify(const tile& region) const {
    const index_t first = region.first_key / page_rows;
    const index_t last = (region.last_key - 1) / page_rows;
    if (first != last) return tile_class::partial;
    return first % ranks == rank ? tile_class::full : tile_class::skip;
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    for (index_t sequence = 0; sequence < call.shape.batch; ++sequence) {
      const index_t first = call.position_of(sequence).key_offset;
      const index_t in_turn = page_rows * ranks;  // rows of one page of each rank
      if (first >= 0 && first % in_turn == 0) continue;
      return status::error(
          status_code::invalid_value,
          "rank_pages: the first key is at position %lld, must be at 0 or a positive multiple of "
          "ranks times rows of a page, %lld",
          static_cast<long long>(first), static_cast<long long>(in_turn));
    }
    return {};
  }
  status check(const attention_shape&) const {
    constexpr index_t most = index_t{1} << 30;
    if (1 <= page_rows && page_rows <= most && 0 <= rank && rank < ranks && ranks <= most)
      return {};
    return status::error(
        status_code::invalid_value,
        "rank_pages: rank %lld of %lld, pages of %lld rows: must be a rank of 1 to "
        "2^30, and pages of 1 to 2^30 rows",
        static_cast<long long>(rank), static_cast<long long>(ranks),
        static_cast<long long>(page_rows));
  }
};

/// @}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
