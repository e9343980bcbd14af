#pragma once
// Kernels of 16 lanes, which have code of their own, on any machine.

#include <type_traits>

#include "relpos/cpu/common_kernels.hpp"

namespace support {

/// The instruction set of this program, or else plain arrays.
using sixteen_lanes =
    std::conditional_t<relpos::lanes<relpos::native> == 16, relpos::native, relpos::generic<16>>;

}  // namespace support

// Compilers take long for plain arrays: sixteen_lanes.cpp has them once.
#define RELPOS_SIXTEEN_LANES(declared)                                                \
  declared template class prefill<generic<16>, std::tuple<>, std::tuple<>>;           \
  declared template class prefill<generic<16>, std::tuple<linear_stage<generic<16>>>, \
                                  std::tuple<>>;                                      \
  declared template class decode<generic<16>, float, float>;                          \
  declared template class decode<generic<16>, int8, int8>;

#if !RELPOS_HAS_AVX512
namespace relpos::inline RELPOS_ABI {

RELPOS_SIXTEEN_LANES(extern)

}  // namespace relpos::inline RELPOS_ABI
#endif
