#pragma once
// Constant temperatures, one for all heads or one per head. They divide the score and the bias:
// p = softmax(s / temperature). A temperature below 1 sharpens attention that has dispersed over an
// input longer than the training length (Chi, Fan, Rudnicky, arXiv 2311.00684;
// temperature_alignment.hpp finds the value). The temperature is folded into the query, so the loop
// has no additional instruction.

#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup softmax
/// @{

/// One temperature for all heads.
///
/// `temperature{0.85}`: an integer or floating-point number, > 0 and finite.
///
/// @copydoc temperature.hpp
/// @snippet reference.cpp temperature
struct temperature {
  float value;  ///< divides score and bias

  /// Takes any floating-point number.
  constexpr temperature(std::floating_point auto divisor) : value(static_cast<float>(divisor)) {}
  /// Takes any integer.
  constexpr temperature(std::integral auto divisor) : value(static_cast<float>(divisor)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr float softmax_temperature() const { return value; }
};

/// One temperature per query head.
///
/// `head_temperature{values}`: each > 0 and finite; the caller keeps them alive.
///
/// @copydoc temperature.hpp
/// @snippet reference.cpp head_temperature
struct head_temperature {
  borrowed_data values;  ///< [query heads]

  /// The temperatures of all query heads.
  constexpr head_temperature(borrowed_data head_temperatures) : values(head_temperatures) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr temperature bind(index_t head) const { return {values.data[head]}; }

  status check(const attention_shape& shape) const {
    return check_per_head("head_temperature", "values", values, shape);
  }
  bool reads(const byte_range& memory) const { return values.overlaps(memory); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
