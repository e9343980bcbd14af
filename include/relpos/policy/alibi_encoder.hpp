#pragma once
// ALiBi for bidirectional attention, which the paper does not define. Models differ. With
// distance = k_pos - q_pos:
//
//   alibi_symmetric{slopes}             -slope |distance|                          (JinaBERT)
//   alibi_two_sided{left, right}        left distance if distance <= 0, else -right distance
//   alibi_offset{slopes}                slope distance if distance <= 0, else slope / 2 - slope distance
//   alibi_one_sided{slopes}             -slope |distance|; the first half of the heads sees no later
//                                       key, the second half no earlier one
//
// Slopes, multiplier and exactness are the same as in alibi.hpp.

#include <limits>

#include "relpos/policy/alibi.hpp"

namespace relpos::inline RELPOS_ABI {

/// The bias of one head: a line for keys up to the query, and another for keys after it.
struct two_sided_line {
  float left_slope;
  float right_slope;
  float right_start;

  template <class Real>
  RELPOS_INLINE constexpr Real bias(Real distance) const {
    return select(distance > Real(0), Real(right_start) - right_slope * distance,
                  left_slope * distance);
  }
  constexpr two_sided_line scaled(float factor) const {
    return {left_slope * factor, right_slope * factor, right_start * factor};
  }
  constexpr float upper_bound(index_t first, index_t last) const {
    float bound = -std::numeric_limits<float>::infinity();
    const auto include = [&](index_t distance) {  // a line is largest at one of its ends
      bound = max(bias(static_cast<float>(distance)), bound);
    };
    if (first <= 0) {
      include(first);
      include(last < 0 ? last : 0);
    }
    if (last > 0) {
      include(first > 1 ? first : 1);
      include(last);
    }
    return bound;
  }
};

/// @addtogroup encodings
/// @{

/// ALiBi in both directions with the same slope, as in JinaBERT.
///
/// @copydoc alibi_encoder.hpp
/// @snippet reference.cpp alibi_encoder
struct alibi_symmetric {
  borrowed_data slopes;     ///< [query heads], which the caller keeps alive
  float multiplier = 1.0f;  ///< of every slope

  /// The slopes of all query heads, and the multiplier.
  constexpr alibi_symmetric(borrowed_data head_slopes, double factor = 1.0)
      : slopes(head_slopes), multiplier(static_cast<float>(factor)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr two_sided_line bind(index_t head) const {
    const float slope = slopes.data[head] * multiplier;
    return {slope, slope, 0.0f};
  }
  status check(const attention_shape& shape) const {
    return check_slopes("alibi_symmetric", "slopes", slopes, shape);
  }
  bool reads(const byte_range& memory) const { return slopes.overlaps(memory); }
};

/// ALiBi in both directions, with one slope for keys up to the query and another for keys after it.
///
/// @copydoc alibi_encoder.hpp
/// @snippet reference.cpp alibi_encoder
struct alibi_two_sided {
  borrowed_data left_slopes;   ///< [query heads], which the caller keeps alive
  borrowed_data right_slopes;  ///< [query heads], which the caller keeps alive
  float multiplier = 1.0f;     ///< of every slope

  /// The slopes of all query heads on both sides, and the multiplier.
  constexpr alibi_two_sided(borrowed_data left, borrowed_data right, double factor = 1.0)
      : left_slopes(left), right_slopes(right), multiplier(static_cast<float>(factor)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr two_sided_line bind(index_t head) const {
    return {left_slopes.data[head] * multiplier, right_slopes.data[head] * multiplier, 0.0f};
  }
  status check(const attention_shape& shape) const {
    const status left = check_slopes("alibi_two_sided, left", "slopes", left_slopes, shape);
    return left ? check_slopes("alibi_two_sided, right", "slopes", right_slopes, shape) : left;
  }
  bool reads(const byte_range& memory) const {
    return left_slopes.overlaps(memory) || right_slopes.overlaps(memory);
  }
};

/// ALiBi in both directions, shifted by half a slope for keys after the query.
///
/// @copydoc alibi_encoder.hpp
/// @snippet reference.cpp alibi_encoder
struct alibi_offset {
  borrowed_data slopes;     ///< [query heads], which the caller keeps alive
  float multiplier = 1.0f;  ///< of every slope

  /// The slopes of all query heads, and the multiplier.
  constexpr alibi_offset(borrowed_data head_slopes, double factor = 1.0)
      : slopes(head_slopes), multiplier(static_cast<float>(factor)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr two_sided_line bind(index_t head) const {
    const float slope = slopes.data[head] * multiplier;
    return {slope, slope, slope / 2.0f};
  }
  status check(const attention_shape& shape) const {
    return check_slopes("alibi_offset", "slopes", slopes, shape);
  }
  bool reads(const byte_range& memory) const { return slopes.overlaps(memory); }
};

/// ALiBi in both directions whose heads look to one side only: a bias and a mask.
///
/// The keys on a head's blind side are hidden, not only penalised. Every head sees the query's own
/// key.
///
/// @copydoc alibi_encoder.hpp
/// @snippet reference.cpp alibi_encoder
struct alibi_one_sided {
  borrowed_data slopes;     ///< [query heads], which the caller keeps alive
  index_t left_heads;       ///< the number of heads that see no later key; they come first
  float multiplier = 1.0f;  ///< of every slope

  /// The first half of the heads looks left.
  constexpr alibi_one_sided(borrowed_data head_slopes)
      : alibi_one_sided(head_slopes, head_slopes.size / 2) {}
  /// The first `left` heads look left. For a shard of the heads, `left` counts the shard's own
  /// heads.
  constexpr alibi_one_sided(borrowed_data head_slopes, index_t left, double factor = 1.0)
      : slopes(head_slopes), left_heads(left), multiplier(static_cast<float>(factor)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct head_bias : two_sided_line {
    bool looks_left;

    constexpr key_range visible_keys(index_t q_pos) const {
      return looks_left ? key_range{key_range::everything().first, q_pos + 1}
                        : key_range{q_pos, key_range::everything().last};
    }
    constexpr head_bias scaled(float factor) const {
      return {two_sided_line::scaled(factor), looks_left};
    }
  };

  constexpr head_bias bind(index_t head) const {
    const float slope = slopes.data[head] * multiplier;
    return {{slope, slope, 0.0f}, head < left_heads};
  }
  status check(const attention_shape& shape) const {
    return check_slopes("alibi_one_sided", "slopes", slopes, shape);
  }
  bool reads(const byte_range& memory) const { return slopes.overlaps(memory); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
