#pragma once
// The kernels that most calls share. A program that links relpos::kernels uses the library's
// compiled copies, for the instruction sets that the library was built for. All other kernels are
// compiled in the program that calls them.

#include <tuple>

#include "relpos/contract/head_policies.hpp"
#include "relpos/core/float8.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/cpu/decode/decode.hpp"
#include "relpos/cpu/prefill/bias_stage.hpp"
#include "relpos/cpu/prefill/group_distances.hpp"
#include "relpos/cpu/prefill/late_stages.hpp"
#include "relpos/cpu/prefill/prefill.hpp"

namespace relpos::inline RELPOS_ABI {

// Bias stages for implicit positions.
template <class Isa>
using implicit_distances = group_distances<Isa, implicit_positions>;
template <class Isa>
using linear_stage = computed_bias<Isa, linear_bias, implicit_distances<Isa>>;
template <class Isa>
using table_stage = table_bias<Isa, implicit_distances<Isa>>;
template <class Isa>
using matrix_stage = element_bias<Isa, matrix_bias>;

// `declared` is `extern` or empty; in parentheses it would be neither.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define RELPOS_COMMON_KERNELS(declared, isa)                                             \
  declared template class prefill<isa, std::tuple<>, std::tuple<>>;                      \
  declared template class prefill<isa, std::tuple<linear_stage<isa>>, std::tuple<>>;     \
  declared template class prefill<isa, std::tuple<table_stage<isa>>, std::tuple<>>;      \
  declared template class prefill<isa, std::tuple<matrix_stage<isa>>, std::tuple<>>;     \
  declared template class prefill<isa, std::tuple<row_factor_stage<isa>>, std::tuple<>>; \
  declared template class prefill<isa, std::tuple<>, std::tuple<sink_window>>;           \
  RELPOS_WITH_BFLOAT16_PRODUCTS(                                                         \
      declared template class prefill<isa, std::tuple<>, std::tuple<>, bfloat16_pair>;   \
      declared template class prefill<isa, std::tuple<linear_stage<isa>>, std::tuple<>,  \
                                      bfloat16_pair>;)                                   \
  declared template class decode<isa, float, float>;                                     \
  declared template class decode<isa, float, bfloat16>;                                  \
  declared template class decode<isa, float, half>;                                      \
  declared template class decode<isa, bfloat16, bfloat16>;                               \
  declared template class decode<isa, half, half>;                                       \
  declared template class decode<isa, int8, int8>;                                       \
  declared template class decode<isa, float8_e4m3, float8_e4m3>;
// NOLINTEND(bugprone-macro-parentheses)

RELPOS_WITH_LINKED_KERNELS(RELPOS_COMMON_KERNELS(extern, native))

}  // namespace relpos::inline RELPOS_ABI
