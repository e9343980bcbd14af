#pragma once
// The phases of one call: prepare what all share, attend, merge what decode has split. Each is a run of the executor,
// whose end is the barrier between them.

#include "relpos/core/executor.hpp"
#include "relpos/kernel/decode.hpp"
#include "relpos/kernel/decode_merge.hpp"
#include "relpos/kernel/extreme_row.hpp"
#include "relpos/kernel/prefill.hpp"
#include "relpos/kernel/preparation.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, executor Executor, class Problem>
void run_attention(const Executor& runner, const Problem& problem,
                   const call_scratch<Isa, Problem>& scratch) {
  const preparation<Isa, Problem> prepare(problem, scratch);
  const work_plan& plan = scratch.plan();
  runner.run(prepare.count(), [&](index_t i, index_t slot) { prepare.run(i, slot); });
  runner.run(plan.attend_count(), [&](index_t i, index_t slot) {
    const work_plan::place at = plan.attend_item(i);
    const Problem sequence = problem.of(at.sequence);
    if (is_decoded(problem.choice, sequence.shape)) {
      decode<Isa, Problem>(sequence, scratch).attend(at.item, slot);
    } else {
      prefill<Isa, Problem>(sequence, scratch).attend(at.item, slot);
    }
  });
  runner.run(plan.merge_count(), [&](index_t i, [[maybe_unused]] index_t slot) {
    const work_plan::place at = plan.merge_item(i);
    const Problem sequence = problem.of(at.sequence);
    const decoded_sequence& decoded = plan.decoded(at.sequence);
    const float sink = log2e * sink_logit(bind_all(problem.policies, at.sequence, at.item));
    merge_decoded(sequence.shape, decoded, scratch.states(), at.item, sink, sequence.out,
                  sequence.lse);
    if constexpr (Problem::has_bias) {
      float* const buffer = scratch.slot_of_decode(slot).value_buffer;
      for (index_t row = 0; row < sequence.shape.query_length; ++row) {
        const float largest =
            largest_exponent(sequence.shape, decoded, scratch.states(), at.item, row);
        if (largest >= extreme_exponent) continue;
        attend_extreme_row<Isa>(sequence, at.item, row, buffer);
      }
    }
  });
}

}  // namespace relpos::inline RELPOS_ABI
