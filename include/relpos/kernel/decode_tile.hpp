#pragma once
// One tile of keys, or of values, as decode reads it: a pointer per row, to the caller's memory as it is stored, or to
// copies where channels are not contiguous or do not fill vectors.

#include <algorithm>

#include "relpos/core/key_store.hpp"
#include "relpos/core/position.hpp"
#include "relpos/kernel/decode_geometry.hpp"
#include "relpos/kernel/decode_products.hpp"
#include "relpos/kernel/decode_slot.hpp"

namespace relpos::inline RELPOS_ABI {

/// Key rows of a tile: lane i is row first_row + i. Lanes [first, last) are computed, whole vectors; rows
/// [rows.first, rows.last) exist and are seen by some query.
struct key_lanes {
  index first_row = 0;
  index first = 0;
  index last = 0;
  key_range rows;

  /// `range` of the tile that begins at `tile`.
  template <class Isa>
  static key_lanes of(index tile, const key_range& range) {
    if (range.last <= range.first) return {tile, 0, 0, {tile, tile}};
    return {tile, (range.first - tile) / lanes<Isa> * lanes<Isa>,
            ceil_div(range.last - tile, lanes<Isa>) * lanes<Isa>, range};
  }

  constexpr index nearest_row(index lane) const {
    return std::clamp(first_row + lane, rows.first, rows.last - 1);
  }
};

template <class Isa, stored_rows Rows>
class decode_tile {
 public:
  using stored = typename Rows::stored;
  static constexpr index size = decode_geometry::tile_keys;

  decode_tile(const Rows& source, index channels)
      : source_(source),
        channels_(channels),
        width_(decode_slot<Isa>::padded(channels)),
        in_place_(source.are_contiguous() && channels == width_) {}

  const key_lanes& lanes_of() const { return lanes_; }

  void find(const key_lanes& of) {
    lanes_ = of;
    if (!in_place_ || of.first == of.last) return;
    const index first = of.rows.first - of.first_row;
    const index last = of.rows.last - of.first_row;
    source_.find(of.rows.first, last - first, row_ + first);
    // Lanes without a row repeat the nearest.
    std::fill(row_, row_ + first, row_[first]);
    std::fill(row_ + last, row_ + size, row_[last - 1]);
  }

  /// Calls use(rows, width, scale): a row of `width` channels per lane, and whether they are to be multiplied by their
  /// scales. `buffer` holds copies.
  template <class Use>
  void read(float* buffer, const Use& use) const {
    if (in_place_) {
      use(row_, width_, std::bool_constant<Rows::is_scaled>());
      return;
    }
    const float* copied[size];
    for (index lane = lanes_.first; lane < lanes_.last; ++lane) {
      const index row = lanes_.nearest_row(lane);
      copied[lane] = buffer + (row - lanes_.first_row) * width_;
      if (row == lanes_.first_row + lane) copy_row(row, buffer + lane * width_);
    }
    use(copied, width_, std::false_type());
  }

  void find_scales(float* to) const {
    for (index lane = lanes_.first; lane < lanes_.last; ++lane) {
      to[lane] = source_.scale(lanes_.nearest_row(lane));
    }
  }

  rows_ahead ahead() const {
    if (!in_place_ || lanes_.first == lanes_.last) return {};
    const index bytes = channels_ * static_cast<index>(sizeof(stored));
    return {reinterpret_cast<const void* const*>(row_), ceil_div(bytes, 64)};
  }

 private:
  void copy_row(index row, float* to) const {
    if (const float* const from = source_.in_place(row)) {
      std::copy(from, from + channels_, to);
    } else {
      source_.load(row, to);
    }
    std::fill(to + channels_, to + width_, 0.0f);
  }

  const Rows& source_;
  index channels_;
  index width_;
  bool in_place_;
  key_lanes lanes_;
  const stored* row_[size];
};

}  // namespace relpos::inline RELPOS_ABI
