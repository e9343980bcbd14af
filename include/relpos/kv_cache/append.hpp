#pragma once
// `append`, which writes new rows to a cache.

#include <tuple>
#include <type_traits>

#include "relpos/call/arguments.hpp"
#include "relpos/check/call.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/kv_cache/kv_cache.hpp"
#include "relpos/rows/explicit_rotation.hpp"
#include "relpos/rows/rotation.hpp"
#include "relpos/rows/tensor_kv.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses parts of a cache that share memory with each other, or with memory that append reads.
template <class Stored, class Placement, class Key, class Value>
status check_append_overlap(const kv_cache<Stored, Placement>& cache,
                            const tensor_kv<Key, Value>& rows, const options& opts,
                            const policy_data& policies) {
  status result;
  const auto check = [&](const labelled_memory& part, const labelled_memory& other) {
    check_apart(part, other, result);
  };
  index_t part_index = 0;
  cache.written_parts([&](const labelled_memory& part) {
    index_t other_index = 0;
    cache.written_parts([&](const labelled_memory& other) {
      if (other_index++ > part_index) check(part, other);
    });
    ++part_index;
    cache.channel_scales([&](const labelled_memory& read) { check(part, read); });
    rows.memory_parts([&](const labelled_memory& read) { check(part, read); });
    if (!opts.key_offsets.empty()) {
      check(part, labelled_memory("options.key_offsets", opts.key_offsets.bytes()));
    }
    if (result) result = check_apart_from_policies(part, policies);
  });
  return result;
}

/// Refuses values that the cache has no place for, or that are missing.
template <class Stored, class Placement, class Key, class Value>
status check_values(const kv_cache<Stored, Placement>& cache, const tensor_kv<Key, Value>& rows,
                    bool with_values) {
  const cache_memory<Stored>& memory = cache.memory;
  if (with_values && memory.is_latent()) {
    return status::error(status_code::invalid_value,
                         "v: is given, but the values of the cache are the first %lld channels of "
                         "its keys: append k alone, v is %s, cache.keys are %s",
                         static_cast<long long>(cache.value_dim()), shape_text(rows.v.shape).text,
                         shape_text(shape_in_channels(memory.keys)).text);
  }
  if (with_values || memory.is_latent() || memory.values.size() == 0) return {};
  return shapes_differ(
      "v: must be given, cache.values %s are not the first channels of cache.keys %s",
      memory.values.shape, memory.keys.shape);
}

/// Refuses rows that do not fit the cache, or have no room in it.
template <class Stored, class Placement, class Key, class Value>
status check_append(const kv_cache<Stored, Placement>& cache, const tensor_kv<Key, Value>& rows,
                    bool with_values) {
  if (status valid = cache.check(); !valid) return valid;
  if (status valid =
          check_channel_scales("cache.key_channel_scales", cache.memory.key_channel_scales);
      !valid) {
    return valid;
  }
  if (status valid =
          check_channel_scales("cache.value_channel_scales", cache.memory.value_channel_scales);
      !valid) {
    return valid;
  }
  if (status valid = check_values(cache, rows, with_values); !valid) return valid;
  if (status valid = check_key_values(rows.k, rows.v, rows.starts); !valid) return valid;
  const std::array<index_t, 4> keys = shape_in_channels(cache.memory.keys);
  if (rows.batch() != cache.batch()) {
    return status::error(status_code::invalid_shape,
                         "k: has %lld sequences, the cache %lld: k is %s, cache.keys are %s",
                         static_cast<long long>(rows.batch()),
                         static_cast<long long>(cache.batch()), shape_text(rows.k.shape).text,
                         shape_text(keys).text);
  }
  if (rows.key_heads() != keys[1] || rows.head_dim() != cache.head_dim()) {
    return shapes_differ(
        "k: heads and head_dim must equal those in cache.keys, k is %s, keys are %s", rows.k.shape,
        keys);
  }
  if (rows.value_dim() != cache.value_dim()) {
    return shapes_differ("v: value_dim must equal the one in cache.values, v is %s, values are %s",
                         rows.v.shape, shape_in_channels(cache.memory.values));
  }
  status result;
  for (index_t sequence = 0; sequence < cache.batch() && result; ++sequence) {
    const index_t new_rows = rows.length(sequence);
    const index_t length = cache.length(sequence) + new_rows;
    if (length > max_length) {
      return status::error(status_code::invalid_shape,
                           "k: sequence %lld would have %lld rows, at most 2^31 - 1",
                           static_cast<long long>(sequence), static_cast<long long>(length));
    }
    if constexpr (Placement::evicts) {
      // The new rows of one call must not overwrite each other: those behind the sinks must fit
      // into the ring together. New rows that fill missing sinks have places of their own.
      const index_t sinks = cache.placement.sinks;
      const index_t behind_sinks = length - std::max(cache.length(sequence), sinks);
      if (behind_sinks > keys[2] - sinks) {
        return status::error(
            status_code::invalid_shape,
            "k: %lld rows at once, the ring holds %lld behind %lld sinks: k is %s, "
            "cache.keys are %s",
            static_cast<long long>(behind_sinks), static_cast<long long>(keys[2] - sinks),
            static_cast<long long>(sinks), shape_text(rows.k.shape).text, shape_text(keys).text);
      }
    }
    if (new_rows > 0)
      result = cache.placement.check_room(sequence, length, keys, cache.length(sequence));
  }
  return result;
}

/// Calls use(row source) with the keys of one head as they are stored: rotated by their offset in a
/// block, or to their full position if positions are explicit. `position` is of the first row;
/// `stored_row` and `rotors` have room for one row.
template <class Isa, class Rows, class... Rotation, class Use>
void with_stored_keys(const Rows& keys, const std::tuple<Rotation...>& rotation, index_t sequence,
                      index_t position, index_t rows, index_t channels,
                      [[maybe_unused]] float* stored_row, [[maybe_unused]] float* rotors,
                      const Use& use) {
  using policies = std::tuple<Rotation...>;
  if constexpr (rotates_by_blocks<policies>) {
    with_rotation(rotation, [&](const auto& policy) {
      const rotation_rows rotations = policy.rotations();
      use(rotated_rows<Isa, Rows>{keys, rotations, rotations.keys, position, rows, channels,
                                  stored_row});
    });
  } else if constexpr (rotates_to_positions<policies>) {
    const auto places = row_positions(rotation, {}, sequence);
    const auto key_position = [&](index_t row, index_t axis) { return places.key(row, axis); };
    with_rotation(rotation, [&](const auto& policy) {
      use(explicit_rotation<Isa, Rows, std::decay_t<decltype(policy)>, decltype(key_position)>(
          keys, policy, key_position, channels, stored_row, rotors));
    });
  } else {
    use(keys);
  }
}

/// The implementation of `append`. `with_values` is false if the values are the first channels of
/// the keys or have no channels; only keys are then written. `rotation` holds the rotation among
/// the policies of the call, which rotates the keys, and the positions of their tokens; either may
/// be absent.
template <class Isa, executor Executor, class Stored, class Placement, class Key, class Value,
          class... Rotation>
status append_rows(const Executor& runner, const kv_cache<Stored, Placement>& cache,
                   const tensor_kv<Key, Value>& rows, bool with_values, const options& opts,
                   const policy_data& policies, const std::tuple<Rotation...>& rotation) {
  if (status valid = check_workers(runner); !valid) return valid;
  if (status valid = check_append(cache, rows, with_values); !valid) return valid;
  if (status valid = check_options(opts); !valid) return valid;
  if (status valid = check_sequence_offsets(opts, cache.batch()); !valid) return valid;
  if (status valid = check_append_overlap(cache, rows, opts, policies); !valid) return valid;
  const attention_shape shape{cache.batch(),  cache.key_heads(), cache.key_heads(), rows.longest(),
                              rows.longest(), rows.head_dim(),   rows.value_dim()};
  // Rows are copied: no workspace grows with them.
  const attention_shape one_row{cache.batch(),   cache.key_heads(), cache.key_heads(), 1, 1,
                                rows.head_dim(), rows.value_dim()};
  if (!size_fits(one_row, 1)) return check_size(one_row, 1);
  if (status valid = check_policies(rotation, shape); !valid) return valid;
  if (status valid = check_rotation(cache, rotation); !valid) return valid;

  runner.run(cache.batch() * cache.key_heads(), [&](index_t item, index_t) {
    const index_t sequence = item / cache.key_heads();
    const index_t head = item % cache.key_heads();
    const auto keys = rows.template keys<Isa>(sequence, head);
    const auto values = rows.template values<Isa>(sequence, head);
    const index_t first = cache.length(sequence);
    const index_t slab_rows = cache.memory.keys.shape[2];
    const index_t offset = opts.key_offsets.empty() ? opts.key_offset : opts.key_offsets[sequence];
    float plain[max_cache_channels];
    float rotated[max_cache_channels];
    float rotors[2 * max_cache_channels];
    with_stored_keys<Isa>(
        keys, rotation, sequence, first + offset, rows.length(sequence), rows.head_dim(), plain,
        rotors, [&](const auto& stored_keys) {
          for (index_t row = 0; row < rows.length(sequence); ++row) {
            const cache_cell cell = cache.placement.cell(sequence, first + row, slab_rows);
            store_row(read_row(stored_keys, row, rotated), cache.memory.keys,
                      cache.memory.key_scales, cache.memory.key_channel_scales, cell, head);
            if (!with_values) continue;
            store_row(read_row(values, row, plain), cache.memory.values, cache.memory.value_scales,
                      cache.memory.value_channel_scales, cell, head);
          }
        });
  });
  // A second pass, because the first pass counts rows from the old lengths.
  runner.run(cache.batch(), [&](index_t sequence, index_t) {
    index_t& length = cache.lengths[static_cast<std::size_t>(sequence)];
    length += rows.length(sequence);
    if constexpr (Placement::evicts) {
      cache.placement.appended(sequence, length, cache.memory.keys.shape[2]);
    }
  });
  return {};
}

/// Calls append_rows with the options and policies among `arguments`.
template <class Isa, executor Executor, class Stored, class Placement, class Key, class Value,
          class... Arguments>
status append_with(const Executor& runner, const kv_cache<Stored, Placement>& cache,
                   const view<Key, 4>& k, const view<Value, 4>& v, bool with_values,
                   const Arguments&... arguments) {
  static_assert(storage<std::remove_const_t<Key>> && storage<std::remove_const_t<Value>>,
                "relpos: k and v hold float, relpos::bfloat16 or relpos::half");
  static_assert(check_arguments<Arguments...>());
  const options opts = options_of(arguments...);
  const auto policies = policies_of(arguments...);
  const tensor_kv<std::remove_const_t<Key>, std::remove_const_t<Value>> rows{k, v, opts.key_starts};
  return append_rows<Isa>(runner, cache, rows, with_values, opts, policy_data(policies),
                          rotating_policies(policies));
}

/// @addtogroup append
/// @{

/// Appends rows to each sequence of a cache.
///
/// The rows are k [batch, key head, new row, d] and v [batch, key head, new row, d_v]. With
/// options.key_starts, k and v are ragged batches: they hold the new rows of one sequence after
/// another, bounded by key_starts. A rotation among `arguments`, the same as in the calls of
/// attention, rotates the keys first: row r of a sequence is at position r + options.key_offset, or
/// where token_positions{positions, positions} of the new rows say. A cache holds keys of one kind:
/// all calls over it have token_positions, or none. Existing rows are not moved.
///
/// @snippet reference.cpp contiguous
template <class Isa = native, executor Executor, class Stored, class Placement, class Key,
          class Value, class... Arguments>
status append(const Executor& runner, const kv_cache<Stored, Placement>& cache,
              const view<Key, 4>& k, const view<Value, 4>& v,
              const Arguments&... arguments) noexcept {
  return append_with<Isa>(runner, cache, k, v, true, arguments...);
}

/// Appends rows to a cache whose values are the first channels of its keys (`latent_memory`), or
/// have no channels.
template <class Isa = native, executor Executor, class Stored, class Placement, class Key,
          class... Arguments>
status append(const Executor& runner, const kv_cache<Stored, Placement>& cache,
              const view<Key, 4>& k, const Arguments&... arguments) noexcept {
  return append_with<Isa>(runner, cache, k, k.slice(3, 0, cache.value_dim()), false, arguments...);
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
