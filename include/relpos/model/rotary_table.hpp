#pragma once
// The tables that the policy `rotary` reads. They are made once for a model, and serve every
// position and every call.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "relpos/contract/rotation.hpp"
#include "relpos/core/byte_range.hpp"
#include "relpos/model/frequencies.hpp"
#include "relpos/model/phase.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup frequencies
/// @{

/// The tables that rotary reads, made once for a model.
///
/// `rotary_table(rope_frequencies(head_dim), pair_layout::half_split)`: the rotors of the 512
/// positions of a block, from exactly reduced float64 angles. Any position is a block and an offset
/// (contract/rotation.hpp). 4 KiB per pair, or 8 KiB if the frequencies decay (XPOS), because
/// queries and keys then have a table each. It allocates. Wrong frequencies do not fail here: calls
/// of attention refuse the table, with the text of `fault`.
///
/// @snippet reference.cpp rotary
class rotary_table {
 public:
  /// Makes the table.
  rotary_table(const rotary_frequencies& frequencies, pair_layout layout)
      : fault_(fault_of(frequencies)),
        layout_(layout),
        phases_(frequencies.radians.begin(), frequencies.radians.end()),
        log2_decay_(frequencies.log2_decay),
        axes_(frequencies.axes) {
    if (fault_ != nullptr) return;
    queries_ = make_rows(frequencies.attention_factor, 1.0);
    if (!log2_decay_.empty()) keys_ = make_rows(frequencies.attention_factor, -1.0);
  }

  /// The reason why these frequencies make no table; null if they make one.
  const char* fault() const { return fault_; }

  /// The number of channel pairs, half of the channels that rotate.
  index_t pairs() const { return static_cast<index_t>(phases_.size()); }

  /// The tables, as the policy gives them to kernels.
  rotation_rows rows() const {
    const bool decays = !keys_.empty();
    return {pairs(),         layout_,
            queries_.data(), decays ? keys_.data() : queries_.data(),
            decays,          axes_.empty() ? nullptr : axes_.data(),
            axes()};
  }

  /// The rotor between a query and the key `distance` positions after it, without the attention
  /// factor.
  rotor relative(index_t pair, index_t distance) const {
    const auto i = static_cast<std::size_t>(pair);
    const double angle = phases_[i].angle(-distance);
    const double size =
        log2_decay_.empty() ? 1.0 : std::exp2(-log2_decay_[i] * static_cast<double>(distance));
    return {size * std::cos(angle), size * std::sin(angle)};
  }

  /// Whether the tables lie in this memory.
  bool overlaps(const byte_range& memory) const {
    const auto bytes = [](const std::vector<float>& rows) {
      return byte_range::of(rows.data(), rows.size() * sizeof(float));
    };
    return bytes(queries_).overlaps(memory) || bytes(keys_).overlaps(memory);
  }

 private:
  static const char* fault_of(const rotary_frequencies& frequencies) {
    const std::size_t pairs = frequencies.radians.size();
    if (pairs == 0) return "the table is empty: an argument of its frequencies is out of range";
    for (const double radians : frequencies.radians) {
      if (!std::isfinite(radians)) return "a frequency is not finite";
    }
    if (!std::isfinite(static_cast<float>(frequencies.attention_factor))) {
      return "attention_factor is not finite in float32";
    }
    if (!frequencies.log2_decay.empty() && frequencies.log2_decay.size() != pairs) {
      return "log2_decay must have one number per pair, or none";
    }
    for (const double decay : frequencies.log2_decay) {
      if (!(-0.125 <= decay && decay <= 0.0)) {
        return "a decay is not such that float32 holds it over 512 positions: from 2^-64 to 1";
      }
    }
    if (!frequencies.axes.empty() && frequencies.axes.size() != pairs) {
      return "axes must have one number per pair, or none";
    }
    for (const std::uint8_t axis : frequencies.axes) {
      if (axis >= max_axes) return "a pair rotates by an axis beyond the fourth";
    }
    return nullptr;
  }

  index_t axes() const {
    return axes_.empty() ? 1 : 1 + *std::max_element(axes_.begin(), axes_.end());
  }

  /// `side` is 1 for queries and -1 for keys, whose decay is the inverse.
  std::vector<float> make_rows(double factor, double side) const {
    std::vector<float> rows;
    rows.reserve(static_cast<std::size_t>(2 * rotation_block * pairs()));
    for (index_t r = 0; r < rotation_block; ++r) {
      const auto append = [&](double (*part)(double)) {
        for (std::size_t i = 0; i < phases_.size(); ++i) {
          const double decay = log2_decay_.empty() ? 0.0 : log2_decay_[i];
          const double size = factor * std::exp2(side * decay * static_cast<double>(r));
          rows.push_back(static_cast<float>(size * part(phases_[i].angle(r))));
        }
      };
      append([](double angle) { return std::cos(angle); });
      append([](double angle) { return std::sin(angle); });
    }
    return rows;
  }

  const char* fault_;
  pair_layout layout_;
  std::vector<phase> phases_;
  std::vector<double> log2_decay_;
  std::vector<std::uint8_t> axes_;
  std::vector<float> queries_;
  std::vector<float> keys_;  // empty if equal to queries_
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
