#pragma once
// A cache in which each sequence has its own slab, with room for its largest number of rows.

#include "relpos/kv_cache/kv_cache.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup contiguous_cache
/// @{

/// The placement of a contiguous_cache: slab i is sequence i.
struct contiguous_placement {
  static constexpr bool evicts = false;  ///< no row leaves the cache

  /// @privatesection Caches call these members, which kv_cache/placement.hpp describes.
  static constexpr cache_cell cell(index_t sequence, index_t row, index_t) {
    return {sequence, row};
  }

  /// The number of adjacent rows from a cell on.
  static constexpr index_t run(index_t, const cache_cell& cell, index_t slab_rows) {
    return slab_rows - cell.row;
  }

  static status check(const std::array<index_t, 4>& keys, std::span<const index_t> lengths) {
    if (keys[0] != static_cast<index_t>(lengths.size())) {
      return status::error(status_code::invalid_shape,
                           "cache.lengths: has %zu numbers, must have one for each sequence of "
                           "cache.keys, %s",
                           lengths.size(), shape_text(keys).text);
    }
    return {};
  }
  static status check_room(index_t sequence, index_t rows, const std::array<index_t, 4>& keys,
                           index_t = 0) {
    if (rows <= keys[2]) return {};
    return status::error(status_code::invalid_shape,
                         "cache: sequence %lld would have %lld rows, cache.keys has room for %lld: "
                         "%s",
                         static_cast<long long>(sequence), static_cast<long long>(rows),
                         static_cast<long long>(keys[2]), shape_text(keys).text);
  }
  template <class Use>
  static void memory_parts(const Use&) {}
};

/// A cache in which each sequence has its own slab, with room for its largest number of rows.
///
/// `contiguous_cache<bfloat16>{{keys, values}, lengths}`, memory [sequence, key head, capacity,
/// channel].
///
/// @snippet reference.cpp contiguous
template <cache_storage Stored>
using contiguous_cache = kv_cache<Stored, contiguous_placement>;

/// @}

}  // namespace relpos::inline RELPOS_ABI
