#pragma once
// Conversions of one number between float32 and its storage type, by GPU instructions. The
// conversions of core/storage.hpp take about ten operations each.

#include <type_traits>

#include "relpos/cuda/arch/arch.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Arch, multiplied T>
RELPOS_DEVICE float widen(Arch& arch, T x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return arch.to_float(x);
  }
}

template <multiplied T, class Arch>
RELPOS_DEVICE T narrow(Arch& arch, float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    packed<T> pair;
    arch.round(x, x, pair);
    T result;
    result.bits = static_cast<std::uint16_t>(pair.bits);
    return result;
  }
}

}  // namespace relpos::inline RELPOS_ABI
