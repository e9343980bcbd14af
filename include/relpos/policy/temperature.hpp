#pragma once
// A constant temperature: divides the score and the bias, p = softmax(s / temperature). Below 1 it
// sharpens attention that has dispersed over a longer input than the model was trained on
// (Chi, Fan, Rudnicky, arXiv 2311.00684). Folded into the query: no instruction in the loop.

#include <concepts>

#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// `temperature{0.85}`, from any number; > 0 and finite.
struct temperature {
  float value;

  constexpr temperature(std::floating_point auto divisor) : value(static_cast<float>(divisor)) {}
  constexpr temperature(std::integral auto divisor) : value(static_cast<float>(divisor)) {}

  constexpr float softmax_temperature() const { return value; }
};

}  // namespace relpos::inline RELPOS_ABI
