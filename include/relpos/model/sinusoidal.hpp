#pragma once
// Sinusoidal position embeddings (Vaswani et al., "Attention Is All You Need", arXiv 1706.03762,
// section 3.5), added to the input of a model: the baseline that ALiBi and XPOS are measured
// against.
//
//   pair i of d / 2 at position p:   sin(p base^(-2i/d)),  cos(p base^(-2i/d))

#include <cmath>

#include "relpos/check/numbers.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/model/frequencies.hpp"
#include "relpos/model/phase.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup sinusoidal
/// @{

/// The order of sines and cosines in a row.
enum class sinusoidal_layout {
  interleaved,  ///< sine and cosine of pair i in channels 2 i and 2 i + 1: the paper
  /// Sine and cosine of pair i in channels i and i + d / 2. (The order of tensor2tensor and
  /// fairseq, whose frequencies differ: their last frequency is 1 / base.)
  sines_then_cosines
};

/// @}

/// Calls `use(element, value)` for every element of rows [batch, position, channel] and its
/// embedding; row r is at position r + position_offset. Angles are off by less than the position
/// times 2^-53 turns.
template <class T, class Use>
status for_sinusoidal(const view<T, 3>& rows, sinusoidal_layout layout, index_t position_offset,
                      double base, const Use& use) {
  if (status valid = check_output("rows", rows); !valid) return valid;
  const rotary_frequencies frequencies = rope_frequencies(rows.shape[2], base);
  if (frequencies.radians.empty()) {
    return status::error(status_code::invalid_value,
                         "rows: channels of %s must be even and from 2 to 2^20, base %g above 1",
                         shape_text(rows.shape).text, base);
  }
  if (status valid = check_offset("position_offset", position_offset); !valid) return valid;
  const auto pairs = static_cast<index_t>(frequencies.radians.size());
  const bool interleaved = layout == sinusoidal_layout::interleaved;
  for (index_t i = 0; i < pairs; ++i) {
    const phase turning(frequencies.radians[static_cast<std::size_t>(i)]);
    for (index_t row = 0; row < rows.shape[1]; ++row) {
      const double angle = turning.angle(row + position_offset);
      const auto sine = static_cast<float>(std::sin(angle));
      const auto cosine = static_cast<float>(std::cos(angle));
      for (index_t batch = 0; batch < rows.shape[0]; ++batch) {
        use(rows(batch, row, interleaved ? 2 * i : i), sine);
        use(rows(batch, row, interleaved ? 2 * i + 1 : i + pairs), cosine);
      }
    }
  }
  return {};
}

/// @addtogroup sinusoidal
/// @{

/// Writes the embeddings into rows [batch, position, channel]. The number of channels is even, from
/// 2 to 2^20.
///
/// Row r is at position r + position_offset, within +-2^60; base is above 1.
///
/// @snippet reference.cpp sinusoidal
template <storage T>
status fill_sinusoidal(const view<T, 3>& rows, sinusoidal_layout layout,
                       index_t position_offset = 0, double base = 10000.0) {
  return for_sinusoidal(rows, layout, position_offset, base,
                        [](T& element, float value) { element = static_cast<T>(value); });
}

/// Adds the embeddings to rows [batch, position, channel]. The number of channels is even, from 2 to
/// 2^20.
template <storage T>
status add_sinusoidal(const view<T, 3>& rows, sinusoidal_layout layout, index_t position_offset = 0,
                      double base = 10000.0) {
  return for_sinusoidal(rows, layout, position_offset, base, [](T& element, float value) {
    element = static_cast<T>(static_cast<float>(element) + value);
  });
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
