#pragma once
// The phases of one call: prepare the data that all items share, attend, merge the chunks of
// decode. Each phase is one run of the executor. The end of a run is the barrier before the next.

#include <type_traits>

#include "relpos/core/executor.hpp"
#include "relpos/cpu/common_kernels.hpp"
#include "relpos/cpu/decode/decode.hpp"
#include "relpos/cpu/decode/merge.hpp"
#include "relpos/cpu/extreme_row.hpp"
#include "relpos/cpu/policy_head.hpp"
#include "relpos/cpu/prefill/prefill.hpp"
#include "relpos/cpu/preparation.hpp"

namespace relpos::inline RELPOS_ABI {

/// Runs one item of a sequence with the decode kernel.
template <class Isa, class Problem>
void attend_decode(const problem_sequence<Problem>& sequence,
                   const call_workspace<Isa, Problem>& workspace, index_t item, index_t worker) {
  const decoded_sequence& decoded = workspace.plan().decoded(sequence.at);
  const decode_item work = decode_item::of(workspace.plan(), decoded.geometry, item);
  const decode_workspace<Isa> memory = workspace.decode_workspace_of(worker);
  const policy_head<Isa, Problem> head(sequence, workspace, work.key_head, memory);
  using key_type = typename std::decay_t<decltype(head.keys())>::stored;
  using value_type = typename std::decay_t<decltype(head.values())>::stored;
  decode<Isa, key_type, value_type>(head, decoded, workspace.states(), memory)
      .attend(work, any_rows<key_type>(head.keys()), any_rows<value_type>(head.values()));
}

/// Runs one item of a sequence with the prefill kernel. Items go head by head, so that the items of
/// a head find its keys in cache. Within a head they go from the last block, the longest under a
/// causal mask, to the first.
template <class Isa, class Problem>
void attend_prefill(const problem_sequence<Problem>& sequence,
                    const call_workspace<Isa, Problem>& workspace, index_t item, index_t worker) {
  using head_type = policy_head<Isa, Problem>;
  prefill_workspace<Isa> memory = workspace.prefill_workspace_of(worker);
  const index_t blocks = ceil_div(sequence.shape.query_length, geometry<Isa>::block_rows);
  const index_t query_head = item / blocks;
  const head_type head(sequence, workspace, sequence.shape.key_head(query_head), memory);
  prefill<Isa, typename head_type::biases_type, typename head_type::masks_type>(head, memory)
      .attend(query_head, blocks - 1 - item % blocks);
}

template <class Isa, executor Executor, class Problem>
void run_attention(const Executor& runner, const Problem& problem,
                   const call_workspace<Isa, Problem>& workspace) {
  const preparation<Isa, Problem> prepare(problem, workspace);
  const work_plan& plan = workspace.plan();
  runner.run(prepare.count(), [&](index_t i, index_t worker) { prepare.run(i, worker); });
  runner.run(plan.attend_count(), [&](index_t i, index_t worker) {
    const work_plan::place place = plan.attend_item(i);
    const problem_sequence<Problem> sequence = problem.of(place.sequence);
    if (is_decoded(problem.opts, sequence.shape)) {
      attend_decode<Isa>(sequence, workspace, place.item, worker);
    } else {
      attend_prefill<Isa>(sequence, workspace, place.item, worker);
    }
  });
  runner.run(plan.merge_count(), [&](index_t i, [[maybe_unused]] index_t worker) {
    const work_plan::place place = plan.merge_item(i);
    const problem_sequence<Problem> sequence = problem.of(place.sequence);
    const decoded_sequence& decoded = plan.decoded(place.sequence);
    const float sink = log2e * sink_logit(bind_all(problem.policies, place.sequence, place.item));
    merge_decoded(sequence.shape, decoded, workspace.states(), place.item, sink, sequence.out(),
                  sequence.lse);
    if constexpr (Problem::has_bias) {
      float* const buffer = workspace.decode_workspace_of(worker).value_buffer;
      for (index_t row = 0; row < sequence.shape.query_length; ++row) {
        const float largest =
            largest_exponent(sequence.shape, decoded, workspace.states(), place.item, row);
        if (largest >= extreme_exponent) continue;
        attend_extreme_row<Isa>(sequence, place.item, row, buffer);
      }
    }
  });
}

}  // namespace relpos::inline RELPOS_ABI
