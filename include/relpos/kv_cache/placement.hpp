#pragma once
// The concepts of placements, which map the rows of a cache to its memory. contiguous.hpp, ring.hpp
// and paged.hpp have one each; a placement of your own has the same members.

#include <array>
#include <concepts>
#include <span>
#include <type_traits>

#include "relpos/call/kv_source.hpp"
#include "relpos/call/options.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup placements
/// @{

/// The place of a row: a slab, and the row in the slab.
struct cache_cell {
  index_t slab = 0;  ///< a sequence or a page
  index_t row = 0;   ///< in the slab
};

/// Whatever maps the rows of a cache to its memory.
///
/// Rows are in slabs of `slab_rows`; `keys` is the shape of cache.keys. The members are
///
///   cell(sequence, row, slab_rows)   the place of a row
///   run(row, cell, slab_rows)        the number of adjacent rows from `cell` on
///   check(keys, lengths)             refuses members of the placement that do not fit
///   check_room(sequence, rows, keys, checked)
///                                    refuses a sequence if not all of its `rows` rows have a
///                                    place; the first `checked` rows have passed before
///   memory_parts(use)                calls use(labelled_memory) for each part of its memory
///   evicts                           whether rows may be evicted (evicting_placement)
template <class Placement>
concept cache_placement =
    std::is_trivially_copyable_v<Placement> &&
    requires(const Placement& placement, index_t i, const std::array<index_t, 4>& keys,
             std::span<const index_t> lengths) {
      { placement.cell(i, i, i) } -> std::same_as<cache_cell>;
      { placement.run(i, cache_cell(), i) } -> std::same_as<index_t>;
      { placement.check(keys, lengths) } -> std::same_as<status>;
      { placement.check_room(i, i, keys, i) } -> std::same_as<status>;
      placement.memory_parts(takes_any());
      { Placement::evicts } -> std::convertible_to<bool>;
    };

/// A placement that evicts rows behind the first `sinks`.
///
/// Its members, beside the ones of cache_placement, are
///
///   evicted(sequence)                the range of evicted rows
///   hidden(sequence, row)            the range of rows that a query at the position of `row` does
///                                    not see, including evicted rows
///   mask(options)                    a policy that hides these rows
///   appended(sequence, length, slab_rows), truncated(sequence, length)
///                                    record that rows were written or removed
///   rewindable(sequence, length, slab_rows)
///                                    the number of newest rows that may be removed
///   can_rewind_to(sequence, old_length, length, slab_rows)
///                                    whether a sequence of `old_length` rows may be truncated to
///                                    `length`
///   seen_rows(slab_rows), window     the number of rows behind the sinks that a query sees, and
///                                    the declared number (0: all)
template <class Placement>
concept evicting_placement = cache_placement<Placement> &&
                             requires(const Placement& placement, index_t i, const options& opts) {
                               requires Placement::evicts;
                               { placement.sinks } -> std::convertible_to<index_t>;
                               { placement.window } -> std::convertible_to<index_t>;
                               { placement.evicted(i) } -> std::same_as<key_range>;
                               { placement.hidden(i, i) } -> std::same_as<key_range>;
                               placement.mask(opts);
                               placement.appended(i, i, i);
                               placement.truncated(i, i);
                               { placement.rewindable(i, i, i) } -> std::same_as<index_t>;
                               { placement.can_rewind_to(i, i, i, i) } -> std::same_as<bool>;
                               { placement.seen_rows(i) } -> std::same_as<index_t>;
                             };

/// @}

}  // namespace relpos::inline RELPOS_ABI
