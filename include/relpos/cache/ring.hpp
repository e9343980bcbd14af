#pragma once
// A cache of fixed size for a sliding window: behind `sinks` rows that it keeps forever (Xiao et al., arXiv
// 2309.17453), the newest rows take the places of the oldest. Rows that are gone are not visible, whatever the mask.

#include "relpos/cache/kv_cache.hpp"
#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// Slab i is sequence i. At most rows - sinks rows are appended at once. To prefill chunks of c rows under a window of w,
/// a slab has sinks + w + c - 1 rows; to truncate by d drafts, d more.
struct ring_placement {
  static constexpr bool forgets = true;

  /// Per sequence, the first row behind the sinks that is there; zeros at first, written by append and truncate.
  std::span<index_t> oldest;
  index_t sinks = 0;

  constexpr cache_cell cell(index_t sequence, index_t row, index_t slab_rows) const {
    if (row < sinks) return {sequence, row};
    return {sequence, sinks + (row - sinks) % (slab_rows - sinks)};
  }

  constexpr index_t run(index_t row, const cache_cell& from, index_t slab_rows) const {
    return row < sinks ? sinks - row : slab_rows - from.row;
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
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      // Rows [oldest, length) lie in the ring at once.
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
  static status check_room(index_t, index_t, const std::array<index_t, 4>&) { return {}; }

  template <class Use>
  void named_parts(const Use& use) const {
    use(named_memory("cache.oldest", byte_range::of(oldest.data(), oldest.size_bytes())));
  }

  void appended(index_t sequence, index_t length, index_t slab_rows) const {
    index_t& first = oldest[static_cast<std::size_t>(sequence)];
    first = std::max({first, sinks, length - (slab_rows - sinks)});
  }
  void truncated(index_t sequence, index_t length) const {
    index_t& first = oldest[static_cast<std::size_t>(sequence)];
    first = std::min(first, std::max(length, sinks));
  }

  /// Rows behind the sinks that are no longer there.
  key_range gone(index_t sequence) const {
    return {sinks, std::max(oldest[static_cast<std::size_t>(sequence)], sinks)};
  }

  /// Hides what is gone.
  struct held_rows {
    const index_t* oldest;
    index_t sinks;
    index_t offset;
    index_list offsets;

    struct of_sequence {
      key_range gone;  // positions

      constexpr key_range visible_keys(index_t) const {
        return {is_all_before ? gone.last : key_range::everything().first,
                key_range::everything().last};
      }
      constexpr bool keep(index_t, index_t k_pos) const { return !gone.contains(k_pos); }
      constexpr tile_class classify(const tile& of) const {
        const key_range both = intersect(gone, {of.first_key, of.last_key});
        if (both.last <= both.first) return tile_class::full;
        const bool all = both.first == of.first_key && both.last == of.last_key;
        return all ? tile_class::skip : tile_class::partial;
      }
      bool is_all_before;  // no sinks: rows are one range
    };
    of_sequence bind(index_t sequence, index_t) const {
      const index_t first = offsets.empty() ? offset : offsets[sequence];
      return {{first + sinks, first + std::max(oldest[sequence], sinks)}, sinks == 0};
    }
  };
  held_rows mask(const options& choice) const {
    return {oldest.data(), sinks, choice.key_offset, choice.key_offsets};
  }
};

/// `ring_cache<half>{{keys, values}, lengths, {oldest, 4}}`, memory [sequence, key head, sinks + window, channel].
template <cache_storage Stored>
using ring_cache = kv_cache<Stored, ring_placement>;

}  // namespace relpos::inline RELPOS_ABI
