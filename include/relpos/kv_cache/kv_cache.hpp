#pragma once
// Keys and values that stay from call to call.
//
// A cache is a view over the caller's memory. `append` rotates keys once, relative to the blocks of
// contract/rotation.hpp; rotated keys serve every later query. append and attention take the same
// policies. append.hpp writes rows. A kind of cache is a placement, which maps rows to
// memory: contiguous.hpp, ring.hpp and paged.hpp; placement.hpp lists the members of a new one.

//   relpos::contiguous_cache<relpos::bfloat16> cache{{keys, values}, lengths};
//   relpos::append(runner, cache, k, v, relpos::rotary{rope});                 // once per token
//   relpos::attention(runner, memory, out, q, cache, relpos::rotary{rope}, relpos::causal{});

#include <span>
#include <tuple>

#include "relpos/call/sequences.hpp"
#include "relpos/check/overlap.hpp"
#include "relpos/contract/rotation.hpp"
#include "relpos/kv_cache/memory.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup caches
/// @{

/// Keys and values that stay from call to call: contiguous_cache, ring_cache and paged_cache.
///
/// `lengths` holds the number of rows of each sequence; append and truncate write it. Row r of a
/// sequence is at position r + options.key_offset.
///
/// @copydetails kv_cache.hpp
template <cache_storage Stored, cache_placement Placement>
struct kv_cache {
  static_assert(!Placement::evicts || evicting_placement<Placement>,
                "relpos: a placement that evicts rows has all of evicting_placement "
                "(kv_cache/placement.hpp)");
  static constexpr bool holds_rotated_keys = true;   ///< `append` rotates keys
  static constexpr bool evicts = Placement::evicts;  ///< whether old rows leave the cache

  cache_memory<Stored> memory;  ///< the caller's memory of keys and values
  std::span<index_t> lengths;   ///< [sequences], from 0 to 2^31 - 1; zeros at first
  Placement placement{};        ///< the places of rows

  /// The number of sequences.
  index_t batch() const { return static_cast<index_t>(lengths.size()); }
  /// The number of key heads.
  index_t key_heads() const { return memory.keys.shape[1]; }
  /// The channels of a key, at most 1024.
  index_t head_dim() const { return channels_of(memory.keys); }
  /// The channels of a value, at most 1024.
  index_t value_dim() const { return channels_of(memory.values); }
  /// The rows of a sequence.
  index_t length(index_t sequence) const { return lengths[static_cast<std::size_t>(sequence)]; }
  /// The rows of the longest sequence.
  index_t longest() const {
    index_t result = 0;
    for (const index_t length : lengths) result = std::max(result, length);
    return result;
  }
  /// @privatesection Calls read the cache by these members.
  static bool lengths_are_equal() { return false; }

  template <class Isa>
  auto keys(index_t sequence, index_t head) const {
    return cache_rows<Isa, Stored, Placement>(memory.keys, memory.key_scales,
                                              memory.key_channel_scales, placement, sequence, head);
  }
  template <class Isa>
  auto values(index_t sequence, index_t head) const {
    return cache_rows<Isa, Stored, Placement>(
        memory.values, memory.value_scales, memory.value_channel_scales, placement, sequence, head);
  }

  key_range evicted([[maybe_unused]] index_t sequence) const {
    if constexpr (Placement::evicts) {
      return placement.evicted(sequence);
    } else {
      return {};
    }
  }
  /// The rows that a query at the position of `row` does not see, because they are evicted or lie
  /// before the window.
  key_range hidden(index_t sequence, index_t row) const
    requires(Placement::evicts)
  {
    return placement.hidden(sequence, row);
  }
  auto masks(const options& opts) const {
    if constexpr (Placement::evicts) {
      return std::tuple(placement.mask(opts));
    } else {
      return std::tuple<>();
    }
  }

  template <class Use>
  void memory_parts(const Use& use) const {
    written_parts(use);
    channel_scales(use);
  }
  /// The two kinds of memory_parts: memory that `append` writes, and scales that it reads.
  template <class Use>
  void written_parts(const Use& use) const {
    use(labelled_memory("cache.keys", memory.keys));
    use(labelled_memory("cache.key_scales", memory.key_scales));
    if (!memory.is_latent()) {
      use(labelled_memory("cache.values", memory.values));
      use(labelled_memory("cache.value_scales", memory.value_scales));
    }
    use(labelled_memory("cache.lengths", byte_range::of(lengths.data(), lengths.size_bytes())));
    placement.memory_parts(use);
  }
  template <class Use>
  void channel_scales(const Use& use) const {
    use(labelled_memory("cache.key_channel_scales", memory.key_channel_scales));
    use(labelled_memory("cache.value_channel_scales", memory.value_channel_scales));
  }

  /// Refuses a rotation that would rotate the values with the keys.
  status check_rotation(const rotation_rows& rotation) const {
    if (!memory.is_latent() || rotation.first_channel >= value_dim()) return {};
    return status::error(
        status_code::invalid_value,
        "rotation: would rotate channels from %lld on of keys %s, whose first %lld are also the "
        "values: rotate channels behind them, rotary{table, first_channel}",
        static_cast<long long>(rotation.first_channel), shape_text(memory.keys.shape).text,
        static_cast<long long>(value_dim()));
  }

  /// @publicsection
  /// Refuses a cache whose shapes, lengths or places of rows do not fit together.
  status check() const {
    if (status valid = check_memory(); !valid) return valid;
    for (index_t i = 0; i < batch(); ++i) {
      if (status valid = check_sequence(i); !valid) return valid;
    }
    return {};
  }
  /// @privatesection
  /// The two parts of check(): shapes and lengths, and the places of the rows of one sequence.
  status check_memory() const {
    if (status valid = check_cache_memory(memory); !valid) return valid;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      if (0 <= lengths[i] && lengths[i] <= max_length) continue;
      return status::error(status_code::invalid_value,
                           "cache.lengths: is %lld at %zu, must be 0 to 2^31 - 1",
                           static_cast<long long>(lengths[i]), i);
    }
    return placement.check(memory.keys.shape, lengths);
  }
  status check_sequence(index_t sequence) const {
    if (sequence < 0 || sequence >= batch()) {
      return status::error(status_code::invalid_value,
                           "sequence: is %lld, the cache has %lld of them",
                           static_cast<long long>(sequence), static_cast<long long>(batch()));
    }
    return placement.check_room(sequence, length(sequence), memory.keys.shape, 0);
  }

  /// Refuses the same caches as check(), and queries that do not fit the cache.
  template <class Query>
  status check(const view<Query, 4>& q, const options& opts) const {
    if (status valid = check_queries(q, opts.query_starts); !valid) return valid;
    if (status valid = check(); !valid) return valid;
    if (!opts.key_starts.empty()) {
      return status::error(status_code::invalid_value,
                           "options.key_starts: are given, but the cache has lengths of its own");
    }
    const index_t sequences = sequence_count(q.shape[0], opts.query_starts);
    if (sequences != batch()) {
      return status::error(status_code::invalid_shape,
                           "cache: has %lld sequences, but there are queries of %lld: q is %s",
                           static_cast<long long>(batch()), static_cast<long long>(sequences),
                           shape_text(q.shape).text);
    }
    const std::array<index_t, 4> shape = shape_in_channels(memory.keys);
    if (head_dim() != q.shape[3]) {
      return shapes_differ("cache.keys: head_dim differs, keys are %s, q is %s", shape, q.shape);
    }
    if (shape[1] == 0 ? q.shape[1] != 0 : q.shape[1] % shape[1] != 0) {
      return shapes_differ(
          "cache.keys: query heads must be a multiple of key heads, keys are %s, q is %s", shape,
          q.shape);
    }
    if (q.shape[2] > max_length) {
      return status::error(status_code::invalid_shape, "q: at most 2^31 - 1 rows, q is %s",
                           shape_text(q.shape).text);
    }
    return {};
  }
};

/// @}

/// @addtogroup append
/// @{

/// The number of newest rows of a sequence that `truncate` may remove.
///
/// All rows, except in a ring, where the window of the next row must stay resident. 0 if the cache
/// or the sequence is invalid.
template <class Stored, class Placement>
index_t rewindable_rows(const kv_cache<Stored, Placement>& cache, index_t sequence) noexcept {
  if (!cache.check() || !cache.check_sequence(sequence)) return 0;
  if constexpr (Placement::evicts) {
    return cache.placement.rewindable(sequence, cache.length(sequence), cache.memory.keys.shape[2]);
  } else {
    return cache.length(sequence);
  }
}

/// Keeps the first `length` rows of a sequence and removes the others.
///
/// It takes rejected draft tokens back, for example. (page_pool::truncate also returns pages.) A
/// ring can remove `rewindable_rows` rows, or any number if `length` is at most `sinks`; it refuses
/// more, because the window of the next row would reach evicted rows. So later calls return the
/// same bits as with an unlimited cache and the same window.
///
/// @snippet reference.cpp truncate
template <class Stored, class Placement>
status truncate(const kv_cache<Stored, Placement>& cache, index_t sequence,
                index_t length) noexcept {
  if (status valid = cache.check(); !valid) return valid;
  if (status valid = cache.check_sequence(sequence); !valid) return valid;
  if (length < 0 || length > cache.length(sequence)) {
    return status::error(status_code::invalid_value,
                         "length: is %lld, sequence %lld has %lld rows to keep",
                         static_cast<long long>(length), static_cast<long long>(sequence),
                         static_cast<long long>(cache.length(sequence)));
  }
  if constexpr (Placement::evicts) {
    const index_t old_length = cache.length(sequence);
    const index_t slab_rows = cache.memory.keys.shape[2];
    if (!cache.placement.can_rewind_to(sequence, old_length, length, slab_rows)) {
      return status::error(
          status_code::invalid_value,
          "length: is %lld, the ring can take %lld rows back from %lld of sequence %lld, after "
          "which the next row has its window of %lld keys (%s), cache.keys are %s",
          static_cast<long long>(length),
          static_cast<long long>(cache.placement.rewindable(sequence, old_length, slab_rows)),
          static_cast<long long>(old_length), static_cast<long long>(sequence),
          static_cast<long long>(cache.placement.seen_rows(slab_rows)),
          cache.placement.window > 0 ? "cache.window" : "all rows, as cache.window is 0",
          shape_text(cache.memory.keys.shape).text);
    }
    cache.placement.truncated(sequence, length);
  }
  cache.lengths[static_cast<std::size_t>(sequence)] = length;
  return {};
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
