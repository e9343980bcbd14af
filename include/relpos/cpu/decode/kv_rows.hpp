#pragma once
// Keys, or values, in the form that decode reads, tile by tile: a pointer per row, to the caller's
// memory in its stored type, or to copies if channels are not contiguous or do not fill vectors.

#include <algorithm>
#include <optional>

#include "relpos/call/selected_rows.hpp"
#include "relpos/cpu/decode/geometry.hpp"
#include "relpos/cpu/decode/micro_kernel.hpp"
#include "relpos/cpu/decode/workspace.hpp"
#include "relpos/rows/any_rows.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Stored>
class decode_kv_rows {
 public:
  using stored = Stored;

  /// `memory` holds known_tiles times tile_keys pointers. With `selected`, the rows of lanes are
  /// places of its list.
  decode_kv_rows(const any_rows<Stored>& source, const std::optional<selected_rows>& selected,
                 index_t channels, void* memory)
      : source_(source),
        selected_(selected),
        channels_(channels),
        width_(decode_workspace<Isa>::padded(channels)),
        in_place_(source.are_contiguous() && channels == width_),
        row_(static_cast<const stored**>(memory)) {}

  index_t width() const { return width_; }
  /// Whether rows are read in place.
  bool are_in_place() const { return in_place_; }
  /// Whether results must be multiplied by the scales of the rows. Copies are scaled already.
  bool are_scaled() const { return in_place_ && source_.are_scaled(); }

  /// Multiplies the values of channels by scales that all rows have in common. Copies are scaled
  /// already.
  void scale_channels(float* values) const {
    if (in_place_) source_.scale_channels(channels_, values);
  }

  /// Finds the rows of the i-th tile in the order of work, and keeps the rows of the last
  /// known_tiles tiles. A tile without rows repeats the rows of the tile before it.
  void find(index_t i, const key_lanes& lanes) {
    if (!in_place_) return;
    const stored** const out = rows(i);
    if (lanes.first == lanes.last) {
      // The rows that are prefetched then are in cache already.
      std::copy(rows(i - 1), rows(i - 1) + decode_geometry::tile_keys, out);
      return;
    }
    const index_t first = lanes.rows.first - lanes.first_row;
    const index_t last = lanes.rows.last - lanes.first_row;
    if (selected_) {
      index_t numbers[decode_geometry::tile_keys];
      for (index_t n = 0; n < last - first; ++n) numbers[n] = selected_->row(lanes.rows.first + n);
      source_.find_each(numbers, last - first, out + first);
    } else {
      source_.find(lanes.rows.first, last - first, out + first);
    }
    // Lanes without a row repeat the nearest row.
    std::fill(out, out + first, out[first]);
    std::fill(out + last, out + decode_geometry::tile_keys, out[last - 1]);
  }

  /// The rows of the i-th tile, which is whole, and of the tile after it. Both have been found.
  row_stream<stored> stream(index_t i) const {
    constexpr index_t last = decode_geometry::tile_keys - 1;
    return {rows(i), rows(i + 1),
            rows(i)[last] - rows(i)[0] == last * width_ / channels_of_element<stored>};
  }

  /// Whether the rows of the i-th tile run on into the tile after it. For prefetching alone: pages
  /// between the first rows of both may lie elsewhere. Both tiles have been found.
  bool runs_into_next(index_t i) const {
    constexpr index_t count = decode_geometry::tile_keys;
    return in_place_ && rows(i + 1)[0] - rows(i)[0] == count * width_ / channels_of_element<stored>;
  }

  const stored** rows(index_t i) const {
    return row_ + i % decode_geometry::known_tiles * decode_geometry::tile_keys;
  }

  /// Calls use(rows, width) for the lanes of the i-th tile: rows of `width` channels. `buffer`
  /// holds copies, [tile_keys][width].
  template <class Use>
  void read(index_t i, const key_lanes& lanes, float* buffer, const Use& use) const {
    if (in_place_) {
      use(const_cast<const stored* const*>(rows(i)), width_);
      return;
    }
    const float* copied[decode_geometry::tile_keys];
    for (index_t lane = lanes.first; lane < lanes.last; ++lane) {
      const index_t row = lanes.nearest_row(lane);
      copied[lane] = buffer + (row - lanes.first_row) * width_;
      if (row == lanes.first_row + lane) copy_row(row, buffer + lane * width_);
    }
    use(static_cast<const float* const*>(copied), width_);
  }

  /// Multiplies scores by the scales of their rows. Lanes without a row, which are hidden, do not
  /// change.
  void scale_scores(const key_lanes& lanes, float* scores) const {
    with_scales(lanes, [&](index_t lane, float scale) { scores[lane] *= scale; });
  }
  /// Multiplies weights by the scales of their rows. A weight of zero stays zero: the scale of a
  /// hidden row may be NaN.
  void scale_weights(const key_lanes& lanes, float* weights) const {
    with_scales(lanes, [&](index_t lane, float scale) {
      if (weights[lane] != 0.0f) weights[lane] *= scale;
    });
  }

  /// The rows of the i-th tile, which has the lanes `lanes`, for prefetching; none if rows are
  /// copied.
  rows_ahead ahead(index_t i, const key_lanes& lanes) const {
    if (!in_place_ || lanes.first == lanes.last) return {};
    return {reinterpret_cast<const void* const*>(rows(i)), 0,
            ceil_div(bytes_of_row<stored>(channels_), 64)};
  }

  /// As many lines, decode_geometry::prefetch_bytes after each row of the i-th tile.
  rows_ahead further_in_run(index_t i) const {
    constexpr index_t distance = decode_geometry::prefetch_bytes / 64;
    return {reinterpret_cast<const void* const*>(rows(i)), distance,
            distance + ceil_div(bytes_of_row<stored>(channels_), 64)};
  }

 private:
  template <class Use>
  void with_scales(const key_lanes& lanes, const Use& use) const {
    if (!are_scaled()) return;
    float scales[decode_geometry::tile_keys];
    const index_t first = lanes.rows.first - lanes.first_row;
    const index_t last = lanes.rows.last - lanes.first_row;
    if (selected_) {
      for (index_t lane = first; lane < last; ++lane) {
        source_.find_scales(selected_->row(lanes.first_row + lane), 1, scales + lane);
      }
    } else {
      source_.find_scales(lanes.rows.first, last - first, scales + first);
    }
    for (index_t lane = first; lane < last; ++lane) use(lane, scales[lane]);
  }

  void copy_row(index_t row, float* out) const {
    source_.copy(selected_ ? selected_->row(row) : row, channels_, out);
    std::fill(out + channels_, out + width_, 0.0f);
  }

  any_rows<Stored> source_;
  const std::optional<selected_rows>& selected_;
  index_t channels_;
  index_t width_;
  bool in_place_;
  const stored** row_;
};

}  // namespace relpos::inline RELPOS_ABI
