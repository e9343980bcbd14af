#pragma once
// The bucket of a distance in T5 (Raffel et al., arXiv 1910.10683, section 2.1): the first half of
// the buckets holds one distance each, the second half grows logarithmically up to max_distance.
//
// With r = k_pos - q_pos, NB buckets per direction (half of num_buckets if bidirectional) and
// E = NB / 2:
//
//   n < E:  n,   else  min(NB - 1, E + trunc(ln(n / E) / ln(max_distance / E) (NB - E)))
//
// where n = |r| (bidirectional; r > 0 adds NB) or max(-r, 0) (unidirectional).
//
// With num_buckets 32 and max_distance 128, bidirectional, the logarithm is exactly an integer at
// n = 16, 32, 64, where one unit in the last place of a float decides the bucket. Here integers
// decide: the bucket is at least E + j exactly when n^(NB - E) >= E^(NB - E - j) max_distance^j.

#include <array>
#include <cmath>
#include <cstdint>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup buckets
/// @{

/// Whether keys after the query have buckets of their own (encoders) or share bucket 0 (decoders).
enum class t5_direction {
  bidirectional,  ///< encoders: half of the buckets are for keys after the query
  unidirectional  ///< decoders: use `causal` too, because later keys are not hidden
};
/// Short for t5_direction::bidirectional.
inline constexpr t5_direction bidirectional = t5_direction::bidirectional;
/// Short for t5_direction::unidirectional.
inline constexpr t5_direction unidirectional = t5_direction::unidirectional;

/// @}

/// A product of small factors, held exactly up to 2^`capacity_bits`.
class exact_product {
 public:
  static constexpr int capacity_bits = 16384;

  constexpr void multiply(std::uint32_t factor) {
    std::uint64_t carry = 0;
    for (int i = 0; i < used_; ++i) {
      carry += static_cast<std::uint64_t>(limbs_[at(i)]) * factor;
      limbs_[at(i)] = static_cast<std::uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) limbs_[at(used_++)] = static_cast<std::uint32_t>(carry);
  }

  constexpr void multiply_power(std::uint32_t base, index_t exponent) {
    for (index_t i = 0; i < exponent; ++i) multiply(base);
  }

  friend constexpr bool operator>=(const exact_product& a, const exact_product& b) {
    if (a.used_ != b.used_) return a.used_ > b.used_;
    for (int i = a.used_; i-- > 0;) {
      if (a.limbs_[at(i)] != b.limbs_[at(i)]) return a.limbs_[at(i)] > b.limbs_[at(i)];
    }
    return true;
  }

 private:
  static constexpr std::size_t at(int i) { return static_cast<std::size_t>(i); }

  std::array<std::uint32_t, capacity_bits / 32> limbs_{1};
  int used_ = 1;
};

/// @addtogroup buckets
/// @{

/// The bucket rule of one table. Valid if `t5_bias` accepts it.
///
/// @copydoc t5_bucket.hpp
/// @snippet reference.cpp buckets
struct t5_buckets {
  index_t num_buckets = 32;    ///< of both directions together
  index_t max_distance = 128;  ///< distances from here on share the last bucket
  t5_direction direction = t5_direction::bidirectional;  ///< of encoders or decoders

  /// The buckets of keys on one side.
  constexpr index_t per_direction() const {
    return direction == t5_direction::bidirectional ? num_buckets / 2 : num_buckets;
  }

  /// The bucket of distance k_pos - q_pos, in [0, num_buckets).
  index_t bucket(index_t distance) const {
    if (direction == t5_direction::unidirectional)
      return magnitude_bucket(distance < 0 ? -distance : 0);
    return distance > 0 ? per_direction() + magnitude_bucket(distance)
                        : magnitude_bucket(-distance);
  }

 private:
  index_t magnitude_bucket(index_t n) const {
    const index_t buckets = per_direction();
    const index_t exact = buckets / 2;
    if (n < exact) return n;
    if (n >= max_distance) return buckets - 1;

    const index_t steps = buckets - exact;
    const double position =
        std::log(static_cast<double>(n) / static_cast<double>(exact)) /
        std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) *
        static_cast<double>(steps);
    // The error of `position` is about 1e-12, so `step` can be wrong only next to an integer.
    constexpr double tolerance = 1e-6;
    auto step = static_cast<index_t>(position + tolerance);
    const bool is_near_integer = position - static_cast<double>(step) < tolerance;
    if (is_near_integer && !reaches(n, exact, steps, step)) --step;
    return exact + step;
  }

  /// n^steps >= exact^(steps - step) max_distance^step
  bool reaches(index_t n, index_t exact, index_t steps, index_t step) const {
    exact_product left;
    exact_product right;
    left.multiply_power(static_cast<std::uint32_t>(n), steps);
    right.multiply_power(static_cast<std::uint32_t>(exact), steps - step);
    right.multiply_power(static_cast<std::uint32_t>(max_distance), step);
    return left >= right;
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
