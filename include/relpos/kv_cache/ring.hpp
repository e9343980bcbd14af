#pragma once
// A cache of fixed size for a sliding window. It keeps the first `sinks` rows forever (Xiao et al.,
// arXiv 2309.17453); behind them, the newest rows overwrite the oldest. Evicted rows are not
// visible, whatever the mask.

#include <algorithm>

#include "relpos/contract/head_policies.hpp"
#include "relpos/core/index_list.hpp"
#include "relpos/kv_cache/kv_cache.hpp"

namespace relpos::inline RELPOS_ABI {

/// The mask that a ring adds to a call: it hides evicted rows, and rows between the sinks and the
/// window.
struct ring_mask {
  const index_t* oldest;  // per sequence, the first resident row behind the sinks
  index_t sinks;
  index_t window;  // 0: all resident rows
  index_t offset;
  index_list offsets;

  constexpr sink_window bind(index_t sequence, index_t) const {
    const index_t first = offsets.empty() ? offset : offsets[sequence];
    return {sinks > 0, first + sinks, first + std::max(oldest[sequence], sinks), window};
  }
};

/// @addtogroup ring_cache
/// @{

/// The placement of a ring_cache: the oldest rows, sinks and window.
///
/// Slab i is sequence i. To append chunks of c rows under a window of w keys, a slab needs
/// sinks + w + c - 1 rows, and d more if d drafts are removed again. A call whose window reaches an
/// evicted row is refused if `window` or a mask (window_start) declares the window.
struct ring_placement {
  static constexpr bool evicts = true;  ///< the newest rows overwrite the oldest

  /// Per sequence, the first resident row behind the sinks. The caller sets zeros at first; append
  /// and truncate then keep the numbers up to date.
  std::span<index_t> oldest;
  index_t sinks = 0;  ///< the first rows of a sequence, which stay; fewer than the rows of a slab
  /// The number of keys behind the sinks that each query sees, its own included. With 0 it sees all
  /// resident rows: the same as a window of slab rows - sinks keys if rows are appended one by one.
  index_t window = 0;

  /// @privatesection Caches call these members, which kv_cache/placement.hpp describes.
  constexpr cache_cell cell(index_t sequence, index_t row, index_t slab_rows) const {
    if (row < sinks) return {sequence, row};
    return {sequence, sinks + (row - sinks) % (slab_rows - sinks)};
  }

  constexpr index_t run(index_t row, const cache_cell& cell, index_t slab_rows) const {
    return row < sinks ? sinks - row : slab_rows - cell.row;
  }

  status check(const std::array<index_t, 4>& keys, std::span<const index_t> lengths) const {
    if (keys[0] != static_cast<index_t>(lengths.size()) || oldest.size() != lengths.size()) {
      return status::error(
          status_code::invalid_shape,
          "cache.lengths, oldest: have %zu and %zu numbers, must have one for each "
          "sequence of cache.keys, %s",
          lengths.size(), oldest.size(), shape_text(keys).text);
    }
    if (sinks < 0 || sinks >= std::max<index_t>(keys[2], 1)) {
      return status::error(status_code::invalid_value,
                           "cache.sinks: is %lld, must be 0 or more and leave room in %lld rows",
                           static_cast<long long>(sinks), static_cast<long long>(keys[2]));
    }
    if (window < 0 || window > keys[2] - sinks) {
      return status::error(
          status_code::invalid_value,
          "cache.window: is %lld, must be 0 to %lld, the rows behind %lld sinks of "
          "cache.keys, %s",
          static_cast<long long>(window), static_cast<long long>(keys[2] - sinks),
          static_cast<long long>(sinks), shape_text(keys).text);
    }
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      // Rows [oldest, length) must fit into the ring together.
      const index_t first = std::max(oldest[i], sinks);
      const bool is_within = 0 <= oldest[i] && oldest[i] <= std::max(lengths[i], sinks);
      if (is_within && lengths[i] - first <= keys[2] - sinks) continue;
      return status::error(status_code::invalid_value,
                           "cache.oldest: is %lld at %zu, but of %lld rows the ring of %lld has "
                           "room for %lld",
                           static_cast<long long>(oldest[i]), i, static_cast<long long>(lengths[i]),
                           static_cast<long long>(keys[2]),
                           static_cast<long long>(keys[2] - sinks));
    }
    return {};
  }
  static status check_room(index_t, index_t, const std::array<index_t, 4>&, index_t = 0) {
    return {};
  }

  template <class Use>
  void memory_parts(const Use& use) const {
    use(labelled_memory("cache.oldest", byte_range::of(oldest.data(), oldest.size_bytes())));
  }

  void appended(index_t sequence, index_t length, index_t slab_rows) const {
    index_t& first = oldest[static_cast<std::size_t>(sequence)];
    first = std::max({first, sinks, length - (slab_rows - sinks)});
  }
  /// The number of rows behind the sinks that a query sees: the window, else all of the ring.
  constexpr index_t seen_rows(index_t slab_rows) const {
    return window > 0 ? window : slab_rows - sinks;
  }
  /// The number of newest rows that truncate may remove: the window of the next row must stay
  /// resident.
  index_t rewindable(index_t sequence, index_t length, index_t slab_rows) const {
    const index_t first = oldest[static_cast<std::size_t>(sequence)];
    if (first <= sinks) return length;
    return std::clamp<index_t>(length - (first + seen_rows(slab_rows) - 1), 0, length);
  }
  /// Truncation to the sinks or less is always allowed: the sinks are resident, and the next row
  /// needs no row behind them.
  bool can_rewind_to(index_t sequence, index_t old_length, index_t length,
                     index_t slab_rows) const {
    return length <= sinks || old_length - length <= rewindable(sequence, old_length, slab_rows);
  }
  void truncated(index_t sequence, index_t length) const {
    index_t& first = oldest[static_cast<std::size_t>(sequence)];
    first = std::min(first, std::max(length, sinks));
  }

  /// The range of evicted rows, behind the sinks.
  key_range evicted(index_t sequence) const {
    return {sinks, std::max(oldest[static_cast<std::size_t>(sequence)], sinks)};
  }

  /// Rows behind the sinks that a query at the position of `row` does not see.
  key_range hidden(index_t sequence, index_t row) const {
    const index_t last = evicted(sequence).last;
    return {sinks, window > 0 ? std::max(last, row - window + 1) : last};
  }
  ring_mask mask(const options& opts) const {
    return {oldest.data(), sinks, window, opts.key_offset, opts.key_offsets};
  }
};

/// A cache of fixed size for a sliding window, whose newest rows overwrite the oldest.
///
/// `ring_cache<half>{{keys, values}, lengths, {oldest, sinks, window}}`, memory [sequence, key
/// head, row, channel].
///
/// @copydetails ring.hpp
/// @snippet reference.cpp ring
template <cache_storage Stored>
using ring_cache = kv_cache<Stored, ring_placement>;

/// @}

}  // namespace relpos::inline RELPOS_ABI
