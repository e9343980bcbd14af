#pragma once
// Rotation in the kernel. Rows are turned by their rest beyond an origin (core/rotation.hpp), once for each
// row; the turn between the origins of queries and keys is a gain of the packed queries, once for each 512
// keys. Turned channels are in half-split order, whatever the layout: queries and keys agree on it.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "relpos/core/policy.hpp"
#include "relpos/core/rotation.hpp"
#include "relpos/core/row_positions.hpp"
#include "relpos/core/row_source.hpp"
#include "relpos/kernel/fetch_row.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

template <class... Policies>
inline constexpr bool any_rotation = (is_rotation<Policies> || ... || false);

/// Keys and queries are turned apart from each other, and the rest when they meet: there are origins.
template <class... Policies>
inline constexpr bool turns_between_origins =
    any_rotation<Policies...> && !any_given_positions<Policies...>;

template <class Policies>
inline constexpr bool rotates_between_origins = false;
template <class... Policies>
inline constexpr bool rotates_between_origins<std::tuple<Policies...>> =
    turns_between_origins<Policies...>;

/// Both are turned all the way: positions are given.
template <class Policies>
inline constexpr bool rotates_to_positions = false;
template <class... Policies>
inline constexpr bool rotates_to_positions<std::tuple<Policies...>> =
    any_rotation<Policies...> && any_given_positions<Policies...>;

/// Calls `use` with the rotating policy, if there is one.
template <class... Policies, class Use>
RELPOS_INLINE void with_rotation(const std::tuple<Policies...>& policies, const Use& use) {
  const auto ask = [&](const auto& policy) {
    if constexpr (is_rotation<std::decay_t<decltype(policy)>>) use(policy);
  };
  std::apply([&](const auto&... each) { (ask(each), ...); }, policies);
}

/// Turns one row of `channels`; `by` is a row of the table.
template <class Isa>
RELPOS_INLINE void turn_row(const float* from, const float* by, index pairs, pair_layout layout,
                            index channels, float* to) {
  using real = float_pack<Isa>;
  const bool interleaved = layout == pair_layout::interleaved;
  const float* const cosines = by;
  const float* const sines = by + pairs;
  index i = 0;
  for (; i + lanes<Isa> <= pairs; i += lanes<Isa>) {
    const real low = real::load(from + (interleaved ? 2 * i : i));
    const real high = real::load(from + (interleaved ? 2 * i + lanes<Isa> : i + pairs));
    const real a = interleaved ? real::evens(low, high) : low;
    const real b = interleaved ? real::odds(low, high) : high;
    const real cosine = real::load(cosines + i);
    const real sine = real::load(sines + i);
    fma(a, cosine, -(b * sine)).store(to + i);
    fma(a, sine, b * cosine).store(to + pairs + i);
  }
  for (; i < pairs; ++i) {
    const float a = from[interleaved ? 2 * i : i];
    const float b = from[interleaved ? 2 * i + 1 : i + pairs];
    to[i] = a * cosines[i] - b * sines[i];
    to[pairs + i] = a * sines[i] + b * cosines[i];
  }
  std::copy(from + 2 * pairs, from + channels, to + 2 * pairs);
}

/// The rows of another source, turned. `buffer` holds a row that is not in place.
template <class Isa, row_source Source>
struct turned_rows {
  const Source& source;
  rotation_rows rotations;
  const float* table;  // of queries or of keys
  index offset;        // position of row 0
  index rows;          // of the source
  index channels;
  float* buffer;

  static const float* in_place(index) { return nullptr; }
  // Rows are turned in order, and waiting for them is what takes the time.
  void load(index row, float* to) const {
    constexpr index ahead = 16;
    if (row + ahead < rows) fetch_row(source.in_place(row + ahead), channels);
    turn_row<Isa>(read_row(source, row, buffer), rotations.row_of(table, row + offset),
                  rotations.pairs, rotations.layout, channels, to);
  }
};

/// Rows of floats that lie one after another.
struct packed_rows {
  using stored = float;
  static constexpr bool is_scaled = false;

  const float* data;
  index channels;

  static bool are_contiguous() { return true; }
  void find(index first, index count, const float** to) const {
    for (index i = 0; i < count; ++i) to[i] = in_place(first + i);
  }
  RELPOS_INLINE const float* in_place(index row) const { return data + row * channels; }
  static void load(index, float*) {}
};

/// The turns between origins that are so many apart, for all pairs.
struct rotation_gains {
  float* data = nullptr;  // [count][2][pairs]
  index first = 0;        // origin of queries - origin of keys
  index count = 0;
  index pairs = 0;

  static constexpr index capacity(index distances) { return distances / rotation_grid + 4; }

  /// For these distances k_pos - q_pos.
  rotation_gains(float* memory, index channel_pairs, const distance_range& distances)
      : data(memory), pairs(channel_pairs) {
    // Of positions that are x apart, the origins are x / rotation_grid apart, rounded down or up.
    first = floor_div(-distances.last, rotation_grid);
    count = floor_div(-distances.first, rotation_grid) + 2 - first;
  }

  /// Entry `i` of `count`.
  template <class Policy>
  void fill(index i, const Policy& policy) const {
    // Smaller factors would make subnormal scores, many times slower, and are lost in any sum that has another
    // pair in it.
    // Decay turns into growth towards keys that come later, which no mask of such an encoding shows.
    const auto gain = [](double part) {
      constexpr double largest = std::numeric_limits<float>::max();
      if (std::abs(part) < 0x1p-100) return 0.0f;
      return static_cast<float>(std::clamp(part, -largest, largest));
    };
    float* const to = data + i * 2 * pairs;
    for (index pair = 0; pair < pairs; ++pair) {
      const turn by = policy.relative_turn(pair, -(first + i) * rotation_grid);
      to[pair] = gain(by.real);
      to[pairs + pair] = gain(by.imaginary);
    }
  }

  /// For queries of one origin and keys of another.
  const float* between(index query_origin, index key_origin) const {
    return data + std::clamp<index>(query_origin - key_origin - first, 0, count - 1) * 2 * pairs;
  }
};

}  // namespace relpos::inline RELPOS_ABI
