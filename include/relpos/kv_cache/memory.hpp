#pragma once
// The caller's memory of a cache, and the functions that write and read its rows.

#include <algorithm>
#include <cmath>
#include <concepts>
#include <limits>

#include "relpos/call/kv_source.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/core/view.hpp"
#include "relpos/kv_cache/placement.hpp"
#include "relpos/kv_cache/quantised_group.hpp"
#include "relpos/kv_cache/quantised_row.hpp"
#include "relpos/rows/strided_rows.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether elements with the same indices have the same address. Strides of axes with at most one
/// common index are ignored.
template <class T, int Rank>
bool begin_alike(const view<T, Rank>& a, const view<T, Rank>& b) {
  if (a.data != b.data) return false;
  for (std::size_t axis = 0; axis < Rank; ++axis) {
    const index_t extent = std::min(a.shape[axis], b.shape[axis]);
    if (extent > 1 && a.strides[axis] != b.strides[axis]) return false;
  }
  return true;
}

/// @addtogroup caches
/// @{

/// The memory of a cache: keys, values and their scales.
///
/// Rows are in slabs: a slab is a sequence or a page. Channels are contiguous; the other axes may
/// have any strides. float, bfloat16 and half are stored directly. The elements of int4 are groups
/// of channels (core/int4.hpp). int8 and float8 are multiples of scales
/// (kv_cache/quantised_row.hpp), of which keys have one kind, and values have one:
///
///   key_scales, value_scales                  one scale for each row, which `append` finds
///   key_channel_scales, value_channel_scales  positive scales that the caller has found for each
///                                             channel, and that `append` only reads. With strides
///                                             {1, 0} each head has one, with {0, 0} the cache
///
/// @snippet reference.cpp int8
template <cache_storage Stored>
struct cache_memory {
  view<Stored, 4> keys;           ///< [slab, key head, row, d], or groups of channels for int4
  view<Stored, 4> values;         ///< [slab, key head, row, d_v], or groups of channels
  view<float, 3> key_scales{};    ///< [slab, key head, row], 8 bits only
  view<float, 3> value_scales{};  ///< [slab, key head, row], 8 bits only
  view<const float, 2> key_channel_scales{};    ///< [key head, d], 8 bits only
  view<const float, 2> value_channel_scales{};  ///< [key head, d_v], 8 bits only

  /// Whether the values are the first channels of the keys (kv_cache/latent.hpp), which are stored
  /// once and read as both.
  bool is_latent() const { return values.size() > 0 && begin_alike(values, keys); }
};

/// @}

/// The number of channels of the rows of keys or values.
template <class Stored>
constexpr index_t channels_of(const view<Stored, 4>& rows) {
  return rows.shape[3] * channels_of_element<Stored>;
}

/// The shape of keys or values, [slab, key head, row, channel].
template <class Stored>
constexpr std::array<index_t, 4> shape_in_channels(const view<Stored, 4>& rows) {
  return {rows.shape[0], rows.shape[1], rows.shape[2], channels_of(rows)};
}

/// The largest number of channels of a cache row. The limit lets `append` rotate rows without
/// workspace.
inline constexpr index_t max_cache_channels = 1024;

/// Refuses scales of keys or values that do not fit their shape.
inline status check_scales(const char* name, const view<float, 3>& of_rows,
                           const char* channel_name, const view<const float, 2>& of_channels,
                           const std::array<index_t, 4>& shape) {
  if (of_channels.data == nullptr) {
    const std::array<index_t, 3> rows{shape[0], shape[1], shape[2]};
    if (status valid = check_output(name, of_rows); !valid) return valid;
    if (of_rows.shape == rows) return {};
    return status::error(status_code::invalid_shape, "%s: shape is %s, must be %s", name,
                         shape_text(of_rows.shape).text, shape_text(rows).text);
  }
  const std::array<index_t, 2> channels{shape[1], shape[3]};
  if (of_rows.data != nullptr) {
    return status::error(status_code::invalid_value,
                         "%s: are given, but so are %s: rows have one kind of scales, shapes are "
                         "%s and %s",
                         name, channel_name, shape_text(of_rows.shape).text,
                         shape_text(of_channels.shape).text);
  }
  if (status valid = check_view(channel_name, of_channels); !valid) return valid;
  if (of_channels.shape == channels) return {};
  return status::error(status_code::invalid_shape, "%s: shape is %s, must be %s", channel_name,
                       shape_text(of_channels.shape).text, shape_text(channels).text);
}

/// Refuses memory whose shapes, strides or scales do not fit together.
template <class Stored>
status check_cache_memory(const cache_memory<Stored>& memory) {
  const auto& k = memory.keys.shape;
  const auto& v = memory.values.shape;
  if (status valid = check_output("cache.keys", memory.keys); !valid) return valid;
  if (status valid = check_view("cache.values", memory.values); !valid) return valid;
  if (memory.is_latent() && v[3] > k[3]) {
    return shapes_differ(
        "cache.values: begin where cache.keys do and so cannot have more channels, values are %s, "
        "keys are %s",
        v, k);
  }
  if (status valid = check_output("cache.values", memory.values); !valid) return valid;
  if (k[0] != v[0] || k[1] != v[1] || k[2] != v[2]) {
    return shapes_differ(
        "cache.values: slabs, heads and rows must equal those in cache.keys, values "
        "are %s, keys are %s",
        v, k);
  }
  if (k[3] < 1 || channels_of(memory.keys) > max_cache_channels ||
      channels_of(memory.values) > max_cache_channels) {
    return shapes_differ("cache: a row has 1 to 1024 channels, keys are %s, values are %s",
                         shape_in_channels(memory.keys), shape_in_channels(memory.values));
  }
  if ((memory.keys.size() > 0 && memory.keys.strides[3] != 1) ||
      (memory.values.size() > 0 && memory.values.strides[3] != 1)) {
    return shapes_differ(
        "cache: the channels of a row must be contiguous, strides of keys are %s, "
        "of values %s",
        memory.keys.strides, memory.values.strides);
  }
  if constexpr (storage_traits<Stored>::is_scaled) {
    if (status valid = check_scales("cache.key_scales", memory.key_scales,
                                    "cache.key_channel_scales", memory.key_channel_scales, k);
        !valid) {
      return valid;
    }
    if (status valid = check_scales("cache.value_scales", memory.value_scales,
                                    "cache.value_channel_scales", memory.value_channel_scales, v);
        !valid) {
      return valid;
    }
    if (memory.is_latent() &&
        !begin_alike(memory.value_channel_scales, memory.key_channel_scales)) {
      return shapes_differ(
          "cache.value_channel_scales: must be cache.key_channel_scales where the values are the "
          "first channels of the keys, values are %s, keys are %s",
          v, k);
    }
    if (memory.is_latent() && !begin_alike(memory.value_scales, memory.key_scales)) {
      return shapes_differ(
          "cache.value_scales: must be cache.key_scales where the values are the first channels of "
          "the keys, values are %s, keys are %s",
          v, k);
    }
  } else if (memory.key_channel_scales.data != nullptr ||
             memory.value_channel_scales.data != nullptr) {
    return status::error(status_code::invalid_value,
                         "cache.key_channel_scales, value_channel_scales: are given, but only rows "
                         "of 8 bits have scales");
  }
  return {};
}

/// Refuses scales of channels by which `append` could not divide.
inline status check_channel_scales(const char* name, const view<const float, 2>& scales) {
  if (scales.data == nullptr) return {};
  for (index_t head = 0; head < scales.shape[0]; ++head) {
    for (index_t channel = 0; channel < scales.shape[1]; ++channel) {
      const float scale = scales(head, channel);
      if (scale >= std::numeric_limits<float>::min() && std::isfinite(scale)) continue;
      return status::error(status_code::invalid_value,
                           "%s: is %g for head %lld and channel %lld, must be finite and at least "
                           "2^-126",
                           name, static_cast<double>(scale), static_cast<long long>(head),
                           static_cast<long long>(channel));
    }
  }
  return {};
}

/// Writes a row of floats to `cell`, converted to the storage type; in 8 bits by the scales of the
/// channels if there are any, otherwise by a scale of the row, which is written too.
template <class Stored>
void store_row(const float* source, const view<Stored, 4>& rows, const view<float, 3>& scales,
               const view<const float, 2>& channel_scales, const cache_cell& cell, index_t head) {
  const index_t channels = channels_of(rows);
  Stored* const out = rows.address(cell.slab, head, cell.row, 0);
  if constexpr (storage_traits<Stored>::is_scaled) {
    if (channel_scales.data == nullptr) {
      scales(cell.slab, head, cell.row) = quantise_row(source, channels, out);
    } else {
      for (index_t c = 0; c < channels; ++c) {
        out[c] = quantised<Stored>(source[c], channel_scales(head, c));
      }
    }
  } else if constexpr (grouped_storage<Stored>) {
    for (index_t i = 0; i < rows.shape[3]; ++i) {
      out[i] = quantised_group<Stored>(source + i * channels_of_element<Stored>);
    }
  } else {
    for (index_t c = 0; c < channels; ++c) out[c] = static_cast<Stored>(source[c]);
  }
}

/// The rows of one head of one sequence, as a row source (stored_rows).
template <class Isa, cache_storage Stored, cache_placement Placement>
class cache_rows {
 public:
  using stored = Stored;
  static constexpr bool is_scaled = storage_traits<Stored>::is_scaled;
  static_assert(!is_scaled || !grouped_storage<Stored>,
                "relpos: groups of channels have scales of their own");

  cache_rows(const view<Stored, 4>& rows, const view<float, 3>& scales,
             const view<const float, 2>& channel_scales, const Placement& placement,
             index_t sequence, index_t head)
      : rows_(rows.slice(1, head, 1)), placement_(placement), sequence_(sequence) {
    if constexpr (is_scaled) {
      if (channel_scales.data != nullptr) {
        channel_scales_ = channel_scales.slice(0, head, 1);
      } else {
        scales_ = scales.slice(1, head, 1);
      }
    }
  }

  static bool are_contiguous() { return true; }
  void find(index_t first, index_t count, const Stored** out) const {
    for_each_run(first, count, [&](const cache_cell& cell, index_t offset, index_t run) {
      const Stored* const begin = place(cell);
      for (index_t j = 0; j < run; ++j) out[offset + j] = begin + j * rows_.strides[2];
    });
  }
  RELPOS_INLINE const Stored* at(index_t row) const {
    return place(placement_.cell(sequence_, row, rows_.shape[2]));
  }
  /// The scale of a channel in all rows; 1 if rows have scales.
  float channel_scale(index_t channel) const
    requires is_scaled
  {
    return channel_scales_.data == nullptr ? 1.0f : channel_scales_(0, channel);
  }
  bool has_channel_scales() const
    requires is_scaled
  {
    return channel_scales_.data != nullptr;
  }
  void find_scales(index_t first, index_t count, float* out) const
    requires is_scaled
  {
    for_each_run(first, count, [&](const cache_cell& cell, index_t offset, index_t run) {
      const float* const begin = scales_.address(cell.slab, 0, cell.row);
      for (index_t j = 0; j < run; ++j) out[offset + j] = begin[j * scales_.strides[2]];
    });
  }
  RELPOS_INLINE const float* in_place(index_t row) const {
    if constexpr (std::same_as<Stored, float>) return at(row);
    return nullptr;
  }
  void load(index_t row, float* out) const {
    load_row<Isa>(at(row), channels_of(rows_), out);
    if constexpr (is_scaled) {
      if (has_channel_scales()) {
        for (index_t c = 0; c < rows_.shape[3]; ++c) out[c] *= channel_scale(c);
        return;
      }
      float scale = 0.0f;
      find_scales(row, 1, &scale);
      for (index_t c = 0; c < rows_.shape[3]; ++c) out[c] *= scale;
    }
  }

 private:
  RELPOS_INLINE const Stored* place(const cache_cell& cell) const {
    return rows_.data + cell.slab * rows_.strides[0] + cell.row * rows_.strides[2];
  }

  /// Splits rows [first, first + count) into runs of adjacent rows, for example the rows of a page.
  /// Calls use(cell, offset, run) for each run [first + offset, first + offset + run), which begins at
  /// `cell`.
  template <class Use>
  RELPOS_INLINE void for_each_run(index_t first, index_t count, const Use& use) const {
    for (index_t i = 0; i < count;) {
      const cache_cell cell = placement_.cell(sequence_, first + i, rows_.shape[2]);
      const index_t run = std::min(count - i, placement_.run(first + i, cell, rows_.shape[2]));
      use(cell, i, run);
      i += run;
    }
  }

  view<Stored, 4> rows_;
  view<float, 3> scales_;
  view<const float, 2> channel_scales_;
  Placement placement_;
  index_t sequence_;
};

}  // namespace relpos::inline RELPOS_ABI
