#pragma once
// A call whose tokens have positions of their own, in any order, and these positions for the naive
// definitions.

#include <cmath>
#include <vector>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace support::placed_tokens {

inline constexpr sizes shape{.batch = 2,
                             .query_heads = 2,
                             .key_heads = 1,
                             .query_length = 75,
                             .key_length = 290,
                             .head_dim = 16,
                             .value_dim = 6};

inline inputs<float> random_call() { return random_inputs(shape, 71); }

/// Positions [axis, batch, row], for the call and for a definition.
struct placed {
  index_t axes;
  index_t batch;
  std::vector<index_t> queries;
  std::vector<index_t> keys;

  relpos::token_positions policy() const {
    const auto view_of = [&](const std::vector<index_t>& of) {
      const index_t rows = static_cast<index_t>(of.size()) / (axes * batch);
      return relpos::view<const index_t, 3>(of.data(), {axes, batch, rows});
    };
    return {view_of(queries), view_of(keys)};
  }
  meaning placing(meaning means) const {
    const auto from = [this](const std::vector<index_t>& of) -> token_position {
      return [this, &of](index_t entry, index_t row, index_t axis) {
        const index_t rows = static_cast<index_t>(of.size()) / (axes * batch);
        const index_t plane = axis * batch + (batch == 1 ? 0 : entry);
        return of[static_cast<std::size_t>(plane * rows + row)];
      };
    };
    means.query_position = from(queries);
    means.key_position = from(keys);
    return means;
  }
};

/// In runs that restart, with gaps, ascending and descending, the same for no two entries and axes.
inline placed restless(index_t axes, index_t batch, index_t origin = 0) {
  placed result{axes, batch, {}, {}};
  const auto fill = [&](std::vector<index_t>& of, index_t rows) {
    for (index_t plane = 0; plane < axes * batch; ++plane) {
      for (index_t row = 0; row < rows; ++row) {
        const index_t run = row / (23 + 7 * plane);
        const index_t within = row % (23 + 7 * plane);
        of.push_back(origin + (run % 3 == 2 ? 90 - within : within + 5 * run) + 11 * plane);
      }
    }
  };
  fill(result.queries, shape.query_length);
  fill(result.keys, shape.key_length);
  return result;
}

/// -|distance| / 4, down to 50 positions; computed in the loop.
struct clipped_line {
  template <class Real>
  Real bias(Real distance) const {
    return Real(-0.25f) * relpos::min(relpos::abs(distance), Real(50.0f));
  }
};

inline bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

inline double line(index_t head, index_t distance) {
  return (head == 0 ? 0.5f : 0.03f) * static_cast<double>(distance);
}
inline const std::vector<float> slopes{0.5f, 0.03f};

inline double theta(index_t pair) { return std::pow(10000.0, -static_cast<double>(pair) / 8.0); }
inline const relpos::rotary_table half_split(relpos::rope_frequencies(16),
                                             relpos::pair_layout::half_split);

}  // namespace support::placed_tokens
