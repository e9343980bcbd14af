#pragma once
// Attention over a slice of the keys, and the merge of two such results into that over both. Associative
// up to rounding; merging an empty state changes nothing.
//
//   w = 1 / (1 + e^(lse_b - lse_a)),   out = w out_a + (1 - w) out_b,   lse = ln(e^lse_a + e^lse_b)

#include <cmath>
#include <limits>

#include "relpos/core/check.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// Normalised attention over some of the keys: out [batch, head, query, d_v] and the natural-log sum of
/// exponentials lse [batch, head, query], -inf (with out ignored) where no key was seen.
struct partial_state {
  view<float, 4> out;
  view<float, 3> lse;
};

inline status check_merge(const partial_state& into, const partial_state& from) {
  if (status valid = check_output("into.out", into.out); !valid) return valid;
  if (status valid = check_output("into.lse", into.lse); !valid) return valid;
  if (status valid = check_view("from.out", from.out); !valid) return valid;
  if (status valid = check_view("from.lse", from.lse); !valid) return valid;
  const auto refuse = [](const char* what, const auto& a, const auto& b) {
    return status::error(status_code::invalid_shape, what, shape_text(a).text, shape_text(b).text);
  };
  const std::array<index, 3> rows{into.out.shape[0], into.out.shape[1], into.out.shape[2]};
  if (into.lse.shape != rows)
    return refuse("into.lse: shape is %s, must be %s", into.lse.shape, rows);
  if (from.out.shape != into.out.shape) {
    return refuse("from.out: shape is %s, must be %s", from.out.shape, into.out.shape);
  }
  if (from.lse.shape != rows)
    return refuse("from.lse: shape is %s, must be %s", from.lse.shape, rows);
  for (const byte_range written : {byte_range::of(into.out), byte_range::of(into.lse)}) {
    if (written.overlaps(byte_range::of(from.out)) || written.overlaps(byte_range::of(from.lse))) {
      return status::error(status_code::overlap, "from: its memory overlaps that of into, both %s",
                           shape_text(from.out.shape).text);
    }
  }
  return {};
}

/// Merges `from` into `into`: states of the same queries over disjoint keys.
inline status merge(const partial_state& into, const partial_state& from) noexcept {
  if (status valid = check_merge(into, from); !valid) return valid;
  const float empty = -std::numeric_limits<float>::infinity();
  for (index b = 0; b < into.out.shape[0]; ++b) {
    for (index h = 0; h < into.out.shape[1]; ++h) {
      for (index row = 0; row < into.out.shape[2]; ++row) {
        float& lse = into.lse(b, h, row);
        const float other = from.lse(b, h, row);
        if (other == empty) continue;
        const float weight = lse == empty ? 0.0f : 1.0f / (1.0f + std::exp(other - lse));
        for (index c = 0; c < into.out.shape[3]; ++c) {
          float& out = into.out(b, h, row, c);
          const float added = (1.0f - weight) * from.out(b, h, row, c);
          out = lse == empty ? added : weight * out + added;
        }
        const float larger = lse > other ? lse : other;
        lse = lse == empty ? other : larger + std::log1p(std::exp(-std::abs(lse - other)));
      }
    }
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
