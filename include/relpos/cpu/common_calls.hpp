#pragma once
// The parts of most calls that depend on no policy: checks of float32 tensors and outputs, plans,
// memory. A program that links relpos::kernels uses the library's compiled copies
// (common_kernels.hpp does the same for the kernels).

#include "relpos/check/overlap.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/cpu/call_memory.hpp"
#include "relpos/cpu/decode/merge.hpp"
#include "relpos/rows/tensor_kv.hpp"

namespace relpos::inline RELPOS_ABI {

// `declared` is `extern` or empty; in parentheses it would be neither.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define RELPOS_COMMON_CALLS(declared, isa)                                                        \
  declared template status check_inputs(const view<const float, 4>&, const view<const float, 4>&, \
                                        const view<const float, 4>&, const index_list&,           \
                                        const index_list&);                                       \
  declared template status check_outputs(const call_outputs<float>&, const view<const float, 4>&, \
                                         index_t);                                                \
  declared template status check_overlap(const call_outputs<float>&, const view<const float, 4>&, \
                                         const tensor_kv<float, float>&, const options&,          \
                                         const policy_data&);                                     \
  declared template status check_workspace_overlap(                                               \
      const byte_range&, const call_outputs<float>&, const view<const float, 4>&,                 \
      const tensor_kv<float, float>&, const options&, const policy_data&);                        \
  declared template class call_memory<isa>;                                                       \
  declared template struct prefill_workspace<isa>;                                                \
  declared template struct decode_workspace<isa>;                                                 \
  declared template void work_plan::fill<isa>(const call_sequences&, index_t, bool) const;        \
  declared template void merge_decoded(const attention_shape&, const decoded_sequence&,           \
                                       const chunk_states&, index_t, index_t, float,              \
                                       const view<float, 4>&, const view<float, 3>&);
// NOLINTEND(bugprone-macro-parentheses)

RELPOS_WITH_LINKED_KERNELS(RELPOS_COMMON_CALLS(extern, native))

}  // namespace relpos::inline RELPOS_ABI
