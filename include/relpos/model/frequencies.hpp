#pragma once
// The frequencies of rotary encodings (Su et al., "RoFormer", arXiv 2104.09864): channel pair i of
// rotary_dim / 2 rotates by radians[i] per position. Models that were stretched beyond their
// training length differ only in rotary_frequencies.
//
// Each function returns rotary_dim / 2 frequencies, or none if an argument is out of range:
// rotary_dim is even and from 2 to 2^20, base is above 1, training lengths are positive, factors
// are at least 1.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

#include "relpos/contract/rotation.hpp"
#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup frequencies
/// @{

/// The frequencies of a rotation: the angle of each channel pair per position.
///
/// The functions `rope_frequencies`, `yarn_frequencies` and so on fill it; a program may change it
/// before it makes a rotary_table.
///
/// @snippet reference.cpp frequencies
struct rotary_frequencies {
  std::vector<double> radians;    ///< [pair], radians per position, finite
  double attention_factor = 1.0;  ///< of cosine and sine, finite in float32; scores have its square
  /// Pair i's part of a score is multiplied by 2^(log2_decay[i] (q_pos - k_pos)), each from -0.125
  /// to 0. Empty: no decay.
  std::vector<double> log2_decay{};
  /// The axis of token_positions, below 4, by which each pair rotates. Empty: all by the first.
  std::vector<std::uint8_t> axes{};
};

/// The largest number of rotated channels: a table of them takes 2 GiB, 4 GiB with a decay.
inline constexpr index_t max_rotary_dim = index_t{1} << 20;

/// RoPE's frequencies: base^(-2i / rotary_dim) for pair i.
inline rotary_frequencies rope_frequencies(index_t rotary_dim, double base = 10000.0) {
  rotary_frequencies result;
  if (rotary_dim < 2 || rotary_dim > max_rotary_dim || rotary_dim % 2 != 0 || !(base > 1.0)) {
    return result;
  }
  for (index_t i = 0; i < rotary_dim / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim);
    result.radians.push_back(std::pow(base, -exponent));
  }
  return result;
}

/// Frequencies whose rotation, without a decay, undoes another's.
///
/// DeepSeek V4 turns the output of attention back by the position of its query.
inline rotary_frequencies inverse_frequencies(rotary_frequencies frequencies) {
  for (double& radians : frequencies.radians) radians = -radians;
  frequencies.attention_factor = 1.0 / frequencies.attention_factor;
  return frequencies;
}

/// Position interpolation (Chen et al., arXiv 2306.15595): all frequencies / factor.
inline rotary_frequencies linear_frequencies(index_t rotary_dim, double factor,
                                             double base = 10000.0) {
  if (!(factor >= 1.0)) return {};
  rotary_frequencies result = rope_frequencies(rotary_dim, base);
  for (double& radians : result.radians) radians /= factor;
  return result;
}

/// NTK-aware scaling: a larger base.
///
/// base factor^(d / (d - 2)) in place of base, with d = rotary_dim. Keeps the fastest frequency and
/// divides the slowest by factor. rotary_dim is at least 4.
inline rotary_frequencies ntk_frequencies(index_t rotary_dim, double factor,
                                          double base = 10000.0) {
  if (!(factor >= 1.0) || rotary_dim < 4) return {};
  const auto d = static_cast<double>(rotary_dim);
  return rope_frequencies(rotary_dim, base * std::pow(factor, d / (d - 2.0)));
}

/// Dynamic NTK: NTK-aware scaling by the length of the call.
///
/// NTK with a factor that depends on `length`, factor length / train_length - (factor - 1), and
/// plain RoPE up to train_length. The frequencies change with the length, so they do not fit a
/// cache, which holds rotated keys. rotary_dim is at least 4.
inline rotary_frequencies dynamic_ntk_frequencies(index_t rotary_dim, double factor,
                                                  index_t train_length, index_t length,
                                                  double base = 10000.0) {
  if (!(factor >= 1.0) || train_length < 1) return {};
  const double stretch =
      static_cast<double>(std::max(length, train_length)) / static_cast<double>(train_length);
  return ntk_frequencies(rotary_dim, factor * stretch - (factor - 1.0), base);
}

/// The ends of YaRN's ramp, rounded to whole pairs or exact.
///
/// The ramp ends at the pairs that turn `fast` and `slow` times over the training length. The
/// indices of these pairs are fractions. They are rounded outwards to whole pairs, as in the
/// paper's code, or kept exact (`"truncate": false` in the rope_scaling of a model's configuration,
/// as in gpt-oss).
enum class yarn_ramp {
  whole_pairs,  ///< the paper's code
  exact         ///< gpt-oss
};

/// YaRN's factor of cosine and sine: 0.1 mscale ln factor + 1, or 1 if factor is at most 1.
///
/// Models whose configuration has `mscale` and `mscale_all_dim` (DeepSeek-V2 and V3) divide:
///
///   frequencies.attention_factor = yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all_dim)
///
/// and models with latent attention multiply the scale by the square of
/// yarn_mscale(factor, mscale_all_dim) besides.
inline double yarn_mscale(double factor, double mscale = 1.0) {
  return factor > 1.0 ? 0.1 * mscale * std::log(factor) + 1.0 : 1.0;
}

/// YaRN: low frequencies divided by factor, high ones kept.
///
/// Peng et al., arXiv 2309.00071. Pairs that turn more than `fast` times over the training length
/// keep their frequency, pairs that turn less than `slow` times have it divided by factor, with a
/// ramp over the pairs between. Scores are sharpened: cosine and sine are multiplied by
/// yarn_mscale(factor). `slow` is above 0, `fast` at least `slow`.
inline rotary_frequencies yarn_frequencies(index_t rotary_dim, double factor, index_t train_length,
                                           double base = 10000.0, double fast = 32.0,
                                           double slow = 1.0,
                                           yarn_ramp ramp = yarn_ramp::whole_pairs) {
  if (!(factor >= 1.0) || train_length < 1 || !(fast >= slow) || !(slow > 0.0)) return {};
  rotary_frequencies result = rope_frequencies(rotary_dim, base);
  if (result.radians.empty()) return result;
  // The fractional index of the pair that turns `turns` times over the training length.
  const auto pair_of = [&](double turns) {
    const double turned = static_cast<double>(train_length) / (turns * 2.0 * std::numbers::pi);
    return static_cast<double>(rotary_dim) * std::log(turned) / (2.0 * std::log(base));
  };
  double first = pair_of(fast);
  double last = pair_of(slow);
  if (ramp == yarn_ramp::whole_pairs) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, static_cast<double>(rotary_dim - 1));
  const double width = std::max(last - first, 0.001);  // a step if both ends meet
  for (std::size_t i = 0; i < result.radians.size(); ++i) {
    const double divided = std::clamp((static_cast<double>(i) - first) / width, 0.0, 1.0);
    result.radians[i] *= divided / factor + (1.0 - divided);
  }
  result.attention_factor = yarn_mscale(factor);
  return result;
}

/// Llama 3's scaling: long wavelengths divided by factor, short ones kept.
///
/// Frequencies of wavelengths below train_length / high are kept, frequencies of wavelengths above
/// train_length / low are divided by factor, with a ramp over train_length / wavelength between.
/// `high` is above `low`.
inline rotary_frequencies llama3_frequencies(index_t rotary_dim, double factor = 8.0,
                                             index_t train_length = 8192, double base = 500000.0,
                                             double low = 1.0, double high = 4.0) {
  if (!(factor >= 1.0) || train_length < 1 || !(high > low)) return {};
  rotary_frequencies result = rope_frequencies(rotary_dim, base);
  for (double& radians : result.radians) {
    const double turns = static_cast<double>(train_length) * radians / (2.0 * std::numbers::pi);
    const double kept = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    radians *= kept + (1.0 - kept) / factor;
  }
  return result;
}

/// LongRoPE: a divisor for each pair.
///
/// Ding et al., arXiv 2402.13753. The divisors are positive, found by search and shipped with the
/// model. Scores are sharpened: cosine and sine are multiplied by sqrt(1 + ln factor / ln
/// train_length). `factor` is the ratio of the longest length to the training length. train_length
/// is at least 2.
inline rotary_frequencies longrope_frequencies(std::span<const double> divisors, double factor,
                                               index_t train_length, double base = 10000.0) {
  if (!(factor >= 1.0) || train_length < 2) return {};
  rotary_frequencies result = rope_frequencies(2 * static_cast<index_t>(divisors.size()), base);
  for (std::size_t i = 0; i < result.radians.size(); ++i) {
    if (!(divisors[i] > 0.0)) return {};
    result.radians[i] /= divisors[i];
  }
  result.attention_factor =
      std::sqrt(1.0 + std::log(factor) / std::log(static_cast<double>(train_length)));
  return result;
}

/// Proportional RoPE: the first pairs rotate, the others do not.
///
/// Gemma 4's global layers; `"rope_type": "proportional"`. The first floor(fraction head_dim / 2)
/// of all head_dim / 2 pairs rotate, by the frequencies that they have in a head that rotates
/// whole, / factor; the others do not rotate. With half_split, pairs are channels i and i +
/// head_dim / 2. `fraction` is above 0 and at most 1.
inline rotary_frequencies proportional_frequencies(index_t head_dim, double fraction,
                                                   double base = 10000.0, double factor = 1.0) {
  if (!(fraction > 0.0 && fraction <= 1.0)) return {};
  rotary_frequencies result = linear_frequencies(head_dim, factor, base);
  const auto rotating =
      static_cast<std::size_t>(std::floor(fraction * static_cast<double>(head_dim) / 2.0));
  for (std::size_t i = rotating; i < result.radians.size(); ++i) result.radians[i] = 0.0;
  return result;
}

/// The decay zeta of XPOS for one channel pair.
///
/// (2 i / rotary_dim + gamma) / (1 + gamma): the factor of the pair's part of a score after
/// scale_base positions.
inline double xpos_decay(index_t pair, index_t rotary_dim, double gamma = 0.4) {
  const double part = 2.0 * static_cast<double>(pair) / static_cast<double>(rotary_dim);
  return 1.0 - (1.0 - part) / (1.0 + gamma);
}

/// XPOS: the angles of RoPE, and a decay.
///
/// Sun et al., arXiv 2212.10554. Pair i's part of a score is multiplied by zeta_i = (2 i /
/// rotary_dim + gamma) / (1 + gamma) for every scale_base positions between key and query. For
/// causal attention only, because the factor would grow towards later keys. gamma and scale_base
/// are positive.
inline rotary_frequencies xpos_frequencies(index_t rotary_dim, double gamma = 0.4,
                                           double scale_base = 512.0, double base = 10000.0) {
  if (!(gamma > 0.0) || !(scale_base > 0.0)) return {};
  rotary_frequencies result = rope_frequencies(rotary_dim, base);
  for (index_t i = 0; i < static_cast<index_t>(result.radians.size()); ++i) {
    result.log2_decay.push_back(std::log2(xpos_decay(i, rotary_dim, gamma)) / scale_base);
  }
  return result;
}

// M-RoPE: the channel pairs of a head rotate by different axes of a token's position: time, height
// and width (Wang et al., "Qwen2-VL", arXiv 2409.12191).
//
//   auto frequencies = relpos::rope_frequencies(128, 1e6);
//   frequencies.axes = relpos::mrope_axes(std::array<relpos::index_t, 3>{16, 24, 24});
//   const relpos::rotary_table mrope(frequencies, relpos::pair_layout::half_split);
//   out = relpos::attention(q, k, v, relpos::rotary{mrope}, relpos::causal{},
//                           relpos::token_positions{positions, positions});  // [3, batch, position]

/// M-RoPE: the axis of each pair for consecutive sections (Qwen2-VL, Qwen2.5-VL).
///
/// Section a has sections[a] pairs, which rotate by axis a.
inline std::vector<std::uint8_t> mrope_axes(std::span<const index_t> sections) {
  std::vector<std::uint8_t> axes;
  for (std::size_t axis = 0; axis < sections.size(); ++axis) {
    for (index_t i = 0; i < sections[axis]; ++i) axes.push_back(static_cast<std::uint8_t>(axis));
  }
  return axes;
}

/// M-RoPE: the axis of each pair for interleaved sections (Qwen3-VL).
///
/// Interleaving gives each axis fast and slow pairs: with A axes, pair i rotates by axis a = i mod
/// A if floor(i / A) < sections[a], else by the first axis.
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

// Axial RoPE: the towers of vision models rotate parts of a head by row and column, and by time.
//
//   const relpos::rotary_table axial(relpos::axial_frequencies(64, 2), relpos::pair_layout::half_split);
//   out = relpos::attention(q, k, v, relpos::rotary{axial},
//                           relpos::token_positions{positions, positions});  // [2, batch, patch]

/// Which frequencies an axis has, with A axes and d = rotary_dim.
enum class axial_spacing {
  own,   ///< all of a head of d / A channels, base^(-2 A j / d) for pair j (Qwen2-VL, Llama 4)
  dealt  ///< every A-th of d channels, base^(-2 (A j + a) / d) for pair j of axis a (Pixtral)
};

/// Where the pairs of an axis are.
enum class axial_order {
  sections,    ///< all pairs of the first axis, then all of the second
  alternating  ///< the first pair of each axis, then the second of each (Kimi K2.5)
};

/// Axial RoPE: rotary_dim / (2 axes) pairs for each of 1 to 4 axes.
///
/// rotary_dim is a multiple of 2 axes. The first axis is the row of a patch in Qwen2-VL and
/// Pixtral, the column in Llama 4 and Kimi K2.5.
inline rotary_frequencies axial_frequencies(index_t rotary_dim, index_t axes, double base = 10000.0,
                                            axial_spacing spacing = axial_spacing::own,
                                            axial_order order = axial_order::sections) {
  if (axes < 1 || axes > max_axes || rotary_dim % (2 * axes) != 0) return {};
  const rotary_frequencies whole = rope_frequencies(rotary_dim, base);
  const auto pairs = static_cast<index_t>(whole.radians.size());
  rotary_frequencies result;
  for (index_t i = 0; i < pairs; ++i) {
    const bool in_sections = order == axial_order::sections;
    const index_t axis = in_sections ? i / (pairs / axes) : i % axes;
    const index_t pair = in_sections ? i % (pairs / axes) : i / axes;
    // A head of d / A channels has every A-th frequency of a head of d channels.
    const index_t frequency = axes * pair + (spacing == axial_spacing::dealt ? axis : 0);
    result.radians.push_back(whole.radians[static_cast<std::size_t>(frequency)]);
    result.axes.push_back(static_cast<std::uint8_t>(axis));
  }
  return result;
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
