#pragma once
// One number between float32 and its storage type, by instructions of the machine: those of core/storage.hpp are some ten
// operations each.

#include <type_traits>

#include "relpos/cuda/arch/machine.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Machine, multiplied T>
RELPOS_DEVICE float widen(Machine& machine, T x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    return machine.to_float(x);
  }
}

template <multiplied T, class Machine>
RELPOS_DEVICE T narrow(Machine& machine, float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else {
    packed<T> both;
    machine.round(x, x, both);
    T result;
    result.bits = static_cast<std::uint16_t>(both.bits);
    return result;
  }
}

}  // namespace relpos::inline RELPOS_ABI
