#pragma once
// Where a cache has its rows: what contiguous.hpp, ring.hpp and paged.hpp answer, and a placement
// of your own would.

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

/// Where a row is.
struct cache_cell {
  index_t slab = 0;
  index_t row = 0;
};

/// Where the rows of a cache are, in slabs of `slab_rows`; `keys` is the shape of cache.keys.
///
///   cell(sequence, row, slab_rows)   the place of a row
///   run(row, cell, slab_rows)        how many rows from there on lie one after another
///   check(keys, lengths)             refuses parts of its own that do not fit
///   check_room(sequence, rows, keys, checked)
///                                    refuses a sequence of so many rows, of which the first
///                                    `checked` have passed
///   memory_parts(use)                calls use(labelled_memory) for each part of its memory
///   evicts                           whether rows may be evicted (evicting_placement)
template <class Placement>
concept cache_placement =
    std::is_trivially_copyable_v<Placement> &&
    requires(const Placement& of, index_t at, const std::array<index_t, 4>& keys,
             std::span<const index_t> lengths) {
      { of.cell(at, at, at) } -> std::same_as<cache_cell>;
      { of.run(at, cache_cell(), at) } -> std::same_as<index_t>;
      { of.check(keys, lengths) } -> std::same_as<status>;
      { of.check_room(at, at, keys, at) } -> std::same_as<status>;
      of.memory_parts(takes_any());
      { Placement::evicts } -> std::convertible_to<bool>;
    };

/// One that evicts rows behind its first `sinks`:
///
///   evicted(sequence)                the range of rows that it has evicted
///   hidden(sequence, row)            what a query at the position of `row` does not see, these
///                                    rows included
///   mask(options)                    a policy that hides them
///   appended(sequence, length, slab_rows), truncated(sequence, length)
///                                    keeps account of rows that were written, or taken back
///   rewindable(sequence, length, slab_rows)
///                                    the newest rows that may be taken back
///   can_rewind_to(sequence, from, to, slab_rows)
///   seen_rows(slab_rows), window     rows behind the sinks that a query sees, and as declared
///                                    (0: all)
template <class Placement>
concept evicting_placement =
    cache_placement<Placement> && requires(const Placement& of, index_t at, const options& opts) {
      requires Placement::evicts;
      { of.sinks } -> std::convertible_to<index_t>;
      { of.window } -> std::convertible_to<index_t>;
      { of.evicted(at) } -> std::same_as<key_range>;
      { of.hidden(at, at) } -> std::same_as<key_range>;
      of.mask(opts);
      of.appended(at, at, at);
      of.truncated(at, at);
      { of.rewindable(at, at, at) } -> std::same_as<index_t>;
      { of.can_rewind_to(at, at, at, at) } -> std::same_as<bool>;
      { of.seen_rows(at) } -> std::same_as<index_t>;
    };

}  // namespace relpos::inline RELPOS_ABI
