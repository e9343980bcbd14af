#pragma once
// A cache of pages. Any page can hold any part of any sequence: memory is taken when sequences
// grow, and sequences with a common prefix share its pages (Kwon et al., arXiv 2309.06180).
// page_pool.hpp manages the free pages.

#include <cstdint>

#include "relpos/kv_cache/kv_cache.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup paged_cache
/// @{

/// The placement of a paged_cache: slab p is page p.
///
/// The shape of the memory sets the number of rows per page.
struct paged_placement {
  static constexpr bool evicts = false;  ///< no row leaves the cache

  /// [sequence, block]: the page of rows [block * page rows, ...). Entries behind a sequence's
  /// length are not read.
  view<std::int32_t, 2> block_table;

  /// @privatesection Caches call these members, which kv_cache/placement.hpp describes.
  constexpr cache_cell cell(index_t sequence, index_t row, index_t page_rows) const {
    // 32 bits, because a 64-bit division takes twice as long.
    const auto narrow_row = static_cast<std::uint32_t>(row);
    const auto rows = static_cast<std::uint32_t>(page_rows);
    const index_t block = narrow_row / rows;
    return {block_table.data[sequence * block_table.strides[0] + block * block_table.strides[1]],
            static_cast<index_t>(narrow_row % rows)};
  }

  static constexpr index_t run(index_t, const cache_cell& cell, index_t page_rows) {
    return page_rows - cell.row;
  }

  status check(const std::array<index_t, 4>& keys, std::span<const index_t> lengths) const {
    if (status valid = check_output("cache.block_table", block_table); !valid) return valid;
    if (block_table.shape[0] != static_cast<index_t>(lengths.size())) {
      return status::error(status_code::invalid_shape,
                           "cache.block_table: shape is %s, must have a row for each of %zu "
                           "sequences",
                           shape_text(block_table.shape).text, lengths.size());
    }
    if (keys[2] >= 1 && keys[2] <= max_length) return {};
    return status::error(status_code::invalid_shape,
                         "cache.keys: pages of %lld rows in %s, must be 1 to 2^31 - 1",
                         static_cast<long long>(keys[2]), shape_text(keys).text);
  }
  /// Refuses a table that lacks pages for `rows` rows, or has a page that does not exist. The pages
  /// of the first `checked` rows were checked before.
  status check_room(index_t sequence, index_t rows, const std::array<index_t, 4>& keys,
                    index_t checked = 0) const {
    const index_t blocks = ceil_div(rows, keys[2]);
    if (blocks > block_table.shape[1]) {
      return status::error(status_code::invalid_shape,
                           "cache.block_table: sequence %lld needs %lld pages for %lld rows, shape "
                           "is %s",
                           static_cast<long long>(sequence), static_cast<long long>(blocks),
                           static_cast<long long>(rows), shape_text(block_table.shape).text);
    }
    for (index_t block = ceil_div(checked, keys[2]); block < blocks; ++block) {
      const index_t page = block_table(sequence, block);
      if (0 <= page && page < keys[0]) continue;
      return status::error(status_code::invalid_value,
                           "cache.block_table: is %lld at [%lld, %lld], must be a page of %s",
                           static_cast<long long>(page), static_cast<long long>(sequence),
                           static_cast<long long>(block), shape_text(keys).text);
    }
    return {};
  }

  template <class Use>
  void memory_parts(const Use& use) const {
    use(labelled_memory("cache.block_table", block_table));
  }
};

/// A cache of pages, any of which can hold any part of any sequence.
///
/// `paged_cache<bfloat16>{{keys, values}, lengths, {block_table}}`, memory [page, key head, row,
/// channel].
///
/// @copydetails paged.hpp
/// @snippet reference.cpp paged
template <cache_storage Stored>
using paged_cache = kv_cache<Stored, paged_placement>;

/// @}

}  // namespace relpos::inline RELPOS_ABI
