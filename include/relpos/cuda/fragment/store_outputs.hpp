#pragma once
// How outputs are stored: in pairs where memory allows it.

#include <cstdint>
#include <type_traits>

#include "relpos/core/index.hpp"
#include "relpos/cuda/fragment/convert.hpp"

namespace relpos::inline RELPOS_ABI {

/// Two outputs as they are stored.
struct RELPOS_MAY_ALIAS two_floats {
  alignas(8) float first;
  float second;
};
struct RELPOS_MAY_ALIAS two_halves {
  std::uint32_t bits;
};

/// Stores the outputs of two neighbouring channels, in one piece where they can be.
template <class Machine, class Out>
RELPOS_DEVICE void store_two(Machine& machine, Out* to, index_t stride, bool in_one_piece,
                             float first, float second) {
  if (!in_one_piece) {
    to[0] = narrow<Out>(machine, first);
    to[stride] = narrow<Out>(machine, second);
  } else if constexpr (std::is_same_v<Out, float>) {
    *reinterpret_cast<two_floats*>(to) = {first, second};
  } else {
    packed<Out> both;
    machine.round(first, second, both);
    *reinterpret_cast<two_halves*>(to) = {both.bits};
  }
}

}  // namespace relpos::inline RELPOS_ABI
