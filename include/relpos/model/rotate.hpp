#pragma once
// The rotation of RoPE by itself, for callers who keep rotated keys in a cache of their own.
//
// Channel pair (a, b) of the row at position p becomes f (a cos - b sin, a sin + b cos) of the
// angle p radians[i], with f the attention factor. Su et al., "RoFormer", arXiv 2104.09864,
// equation 34. Or cosines and sines are given, for those who follow a model's float32 to the bit.

//   const auto frequencies = relpos::rope_frequencies(head_dim);
//   relpos::status done = relpos::rotate(k, frequencies, relpos::pair_layout::half_split, position);
//
//   relpos::status done = relpos::rotate(k, cosines, sines, relpos::pair_layout::half_split);

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "relpos/check/numbers.hpp"
#include "relpos/check/positions.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/contract/rotation.hpp"
#include "relpos/core/byte_range.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/model/frequencies.hpp"
#include "relpos/model/phase.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses frequencies that do not fit the rows, or that decay.
template <class T>
status check_rotation(const view<T, 4>& rows, const rotary_frequencies& frequencies) {
  if (status valid = check_output("rows", rows); !valid) return valid;
  const auto rotary_dim = 2 * static_cast<index_t>(frequencies.radians.size());
  if (rotary_dim == 0 || rotary_dim > rows.shape[3]) {
    return status::error(
        status_code::invalid_shape,
        "frequencies: %lld pairs of channels, must be 1 to half of the channels of %s",
        static_cast<long long>(rotary_dim / 2), shape_text(rows.shape).text);
  }
  for (const double radians : frequencies.radians) {
    if (std::isfinite(radians)) continue;
    return status::error(status_code::invalid_value, "frequencies: %g is not finite", radians);
  }
  if (!std::isfinite(static_cast<float>(frequencies.attention_factor))) {
    return status::error(status_code::invalid_value,
                         "frequencies: attention_factor is %g, must be finite in float32",
                         frequencies.attention_factor);
  }
  if (!frequencies.axes.empty() && frequencies.axes.size() != frequencies.radians.size()) {
    return status::error(status_code::invalid_shape,
                         "frequencies: axes has %zu numbers, must have one for each of %zu pairs",
                         frequencies.axes.size(), frequencies.radians.size());
  }
  if (!frequencies.log2_decay.empty()) {
    return status::error(status_code::invalid_value,
                         "frequencies: log2_decay (XPOS) depends on the distance between key and "
                         "query, which a rotation in place does not know; give attention a "
                         "rotary{table}");
  }
  return {};
}

/// `position_of` is (batch, row, axis) -> position.
template <storage T, class PositionOf>
void rotate_checked(const view<T, 4>& rows, const rotary_frequencies& frequencies,
                    pair_layout layout, const PositionOf& position_of) {
  const auto pairs = static_cast<index_t>(frequencies.radians.size());
  const std::vector<phase> phases(frequencies.radians.begin(), frequencies.radians.end());
  std::vector<float> cosines(phases.size());
  std::vector<float> sines(phases.size());
  std::vector<index_t> positions(phases.size(), std::numeric_limits<index_t>::min());
  const bool interleaved = layout == pair_layout::interleaved;
  const index_t step = interleaved ? 2 : 1;
  const index_t partner_offset = interleaved ? 1 : pairs;

  for (index_t row = 0; row < rows.shape[2]; ++row) {
    for (index_t batch = 0; batch < rows.shape[0]; ++batch) {
      for (std::size_t i = 0; i < phases.size(); ++i) {
        const index_t axis = frequencies.axes.empty() ? 0 : frequencies.axes[i];
        const index_t position = position_of(batch, row, axis);
        if (position == positions[i]) continue;
        positions[i] = position;
        const double angle = phases[i].angle(position);
        cosines[i] = static_cast<float>(frequencies.attention_factor * std::cos(angle));
        sines[i] = static_cast<float>(frequencies.attention_factor * std::sin(angle));
      }
      for (index_t head = 0; head < rows.shape[1]; ++head) {
        for (index_t i = 0; i < pairs; ++i) {
          T& first = rows(batch, head, row, i * step);
          T& second = rows(batch, head, row, i * step + partner_offset);
          const auto pair = static_cast<std::size_t>(i);
          const auto rotated =
              channel_pair<float>{static_cast<float>(first), static_cast<float>(second)} *
              channel_pair<float>{cosines[pair], sines[pair]};
          first = static_cast<T>(rotated.a);
          second = static_cast<T>(rotated.b);
        }
      }
    }
  }
}

/// @addtogroup rotation
/// @{

/// Rotates rows [batch, head, position, channel] in place, at consecutive positions.
///
/// Row r is at position r + position_offset, within +-2^60. Channels beyond the pairs (partial
/// rotary) are not changed. The computation is in float32, from angles in float64. Allocates the
/// cosines and sines of one position. Refuses frequencies that decay (XPOS).
///
/// @snippet reference.cpp rotate
template <storage T>
status rotate(const view<T, 4>& rows, const rotary_frequencies& frequencies, pair_layout layout,
              index_t position_offset = 0) {
  if (status valid = check_rotation(rows, frequencies); !valid) return valid;
  if (status valid = check_offset("position_offset", position_offset); !valid) return valid;
  rotate_checked(rows, frequencies, layout,
                 [&](index_t, index_t row, index_t) { return row + position_offset; });
  return {};
}

/// Rotates rows at explicit positions, one per token and axis: [axis, batch or 1, position].
template <storage T>
status rotate(const view<T, 4>& rows, const rotary_frequencies& frequencies, pair_layout layout,
              const view<const index_t, 3>& of_tokens) {
  if (status valid = check_rotation(rows, frequencies); !valid) return valid;
  if (status valid = check_explicit_positions("of_tokens", of_tokens, rows.shape[0], rows.shape[2]);
      !valid) {
    return valid;
  }
  for (const std::uint8_t axis : frequencies.axes) {
    if (axis < of_tokens.shape[0]) continue;
    return status::error(status_code::invalid_shape,
                         "of_tokens: have %lld axes, but a pair rotates by axis %d",
                         static_cast<long long>(of_tokens.shape[0]), static_cast<int>(axis));
  }
  rotate_checked(rows, frequencies, layout, [&](index_t batch, index_t row, index_t axis) {
    return explicit_position(of_tokens, batch, row, axis);
  });
  return {};
}
/// Rotates rows at explicit positions, one per token: [batch or 1, position].
template <storage T>
status rotate(const view<T, 4>& rows, const rotary_frequencies& frequencies, pair_layout layout,
              const view<const index_t, 2>& of_tokens) {
  return rotate(rows, frequencies, layout, with_one_axis(of_tokens));
}

/// Rotates rows by cosines and sines that the caller has, [batch or 1, position, pair].
///
/// Row r of `rows` is rotated by row r of both. Each product and each sum is rounded once to
/// float32, as models of float32 written in PyTorch round them. Channels beyond the pairs are not
/// changed.
template <storage T>
status rotate(const view<T, 4>& rows, const view<const float, 3>& cosines,
              const view<const float, 3>& sines, pair_layout layout) {
  if (status valid = check_output("rows", rows); !valid) return valid;
  if (status valid = check_view("cosines", cosines); !valid) return valid;
  if (status valid = check_view("sines", sines); !valid) return valid;
  if (cosines.shape != sines.shape) {
    return shapes_differ("sines: must have the shape of the cosines, sines are %s, cosines are %s",
                         sines.shape, cosines.shape);
  }
  const index_t pairs = cosines.shape[2];
  const bool of_batch = cosines.shape[0] == 1 || cosines.shape[0] == rows.shape[0];
  if (!of_batch || cosines.shape[1] != rows.shape[2] || pairs < 1 || 2 * pairs > rows.shape[3]) {
    return shapes_differ(
        "cosines: are %s, must be [batch or 1, position, pair] of rows %s, with 1 pair to half of "
        "the channels",
        cosines.shape, rows.shape);
  }
  for (const view<const float, 3>& table : {cosines, sines}) {
    if (byte_range::of(rows).overlaps(byte_range::of(table))) {
      return status::error(status_code::overlap, "rows: overlap the cosines or sines");
    }
  }
  // Volatile, so that no compiler fuses it with the sum.
  const auto product = [](float a, float b) {
    const volatile float rounded = a * b;
    return rounded;
  };
  const bool interleaved = layout == pair_layout::interleaved;
  for (index_t batch = 0; batch < rows.shape[0]; ++batch) {
    const index_t entry = cosines.shape[0] == 1 ? 0 : batch;
    for (index_t head = 0; head < rows.shape[1]; ++head) {
      for (index_t row = 0; row < rows.shape[2]; ++row) {
        for (index_t i = 0; i < pairs; ++i) {
          T& first = rows(batch, head, row, interleaved ? 2 * i : i);
          T& second = rows(batch, head, row, interleaved ? 2 * i + 1 : i + pairs);
          const float cosine = cosines(entry, row, i);
          const float sine = sines(entry, row, i);
          const auto a = static_cast<float>(first);
          const auto b = static_cast<float>(second);
          first = static_cast<T>(product(a, cosine) - product(b, sine));
          second = static_cast<T>(product(b, cosine) + product(a, sine));
        }
      }
    }
  }
  return {};
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
