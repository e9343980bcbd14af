#pragma once
// Loops with a constant trip count, unrolled in the front end: the accumulators that they index are
// then scalars to the optimiser and stay in registers, at every optimisation level from -O1. CPU
// loops whose body does not need the index as a constant compile faster under RELPOS_UNROLL
// (config.hpp).

#include <type_traits>
#include <utility>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// body(std::integral_constant<int, 0>), ..., body(std::integral_constant<int, Count - 1>).
template <int Count, class Body>
RELPOS_INLINE constexpr void unroll(Body&& body) {
  [&]<int... I>(std::integer_sequence<int, I...>) RELPOS_LAMBDA {
    (body(std::integral_constant<int, I>{}), ...);
  }(std::make_integer_sequence<int, Count>{});
}

}  // namespace relpos::inline RELPOS_ABI
