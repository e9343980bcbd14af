#pragma once
// M-RoPE: channel pairs of one head turn by different axes of a token's position, time, height and width (Wang et
// al., "Qwen2-VL", arXiv 2409.12191).
//
//   auto frequencies = relpos::rope_frequencies(128, 1e6);
//   frequencies.axes = relpos::mrope_axes(std::array<relpos::index_t, 3>{16, 24, 24});
//   const relpos::rotary_table mrope(frequencies, relpos::pair_layout::half_split);
//   out = relpos::attention(q, k, v, relpos::rotary{mrope}, relpos::causal{},
//                           relpos::token_positions{positions, positions});  // [3, batch, position]

#include <cstdint>
#include <span>
#include <vector>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// One section of pairs after the other (Qwen2-VL, Qwen2.5-VL): section a has sections[a] pairs, which turn by
/// axis a.
inline std::vector<std::uint8_t> mrope_axes(std::span<const index_t> sections) {
  std::vector<std::uint8_t> axes;
  for (std::size_t axis = 0; axis < sections.size(); ++axis) {
    for (index_t i = 0; i < sections[axis]; ++i) axes.push_back(static_cast<std::uint8_t>(axis));
  }
  return axes;
}

/// Sections dealt out in turn, so that each axis has fast and slow pairs (Qwen3-VL): of A axes, pair i turns by
/// axis i mod A while the section of that axis lasts, and by the first axis after that.
inline std::vector<std::uint8_t> interleaved_mrope_axes(std::span<const index_t> sections) {
  index_t pairs = 0;
  for (const index_t section : sections) pairs += section;
  const auto count = static_cast<index_t>(sections.size());
  std::vector<std::uint8_t> axes;
  for (index_t i = 0; i < pairs; ++i) {
    const index_t axis = i % count;
    const bool lasts = i / count < sections[static_cast<std::size_t>(axis)];
    axes.push_back(static_cast<std::uint8_t>(lasts ? axis : 0));
  }
  return axes;
}

}  // namespace relpos::inline RELPOS_ABI
