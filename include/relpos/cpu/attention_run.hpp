#pragma once
// The phases of one call: prepare the data that all items share, attend, merge the chunks of
// decode. Each phase is one run of the executor. The end of a run is the barrier before the next.

#include <optional>
#include <type_traits>

#include "relpos/core/executor.hpp"
#include "relpos/cpu/common_kernels.hpp"
#include "relpos/cpu/decode/decode.hpp"
#include "relpos/cpu/decode/merge.hpp"
#include "relpos/cpu/extreme_row.hpp"
#include "relpos/cpu/policy_head.hpp"
#include "relpos/cpu/prefill/prefill.hpp"
#include "relpos/cpu/preparation.hpp"
#include "relpos/cpu/rotated_keys.hpp"

namespace relpos::inline RELPOS_ABI {

/// Runs a bundle with the decode kernel.
template <class Isa, class Problem>
void attend_decode(const problem_sequence<Problem>& sequence,
                   const call_workspace<Isa, Problem>& workspace, const item_bundle& bundle,
                   index_t worker) {
  const decoded_sequence& decoded = workspace.plan().decoded(sequence.at);
  const decode_workspace<Isa> memory = workspace.decode_workspace_of(worker);
  for (index_t item = bundle.first; item < bundle.last; ++item) {
    const decode_item work = decode_item::of(workspace.plan(), decoded.geometry, item);
    const policy_head<Isa, Problem> head(sequence, workspace, work.key_head, memory, worker);
    using key_type = typename std::decay_t<decltype(head.keys())>::stored;
    using value_type = typename std::decay_t<decltype(head.values())>::stored;
    decode<Isa, key_type, value_type>(head, decoded, workspace.states(), memory)
        .attend(work, any_rows<key_type>(head.keys()), any_rows<value_type>(head.values()));
  }
}

/// The block of an item of prefill. Items go head by head, so that the items of a head find its
/// keys in cache. Within a head they go from the last block, the longest under a causal mask, to
/// the first.
template <class Isa>
query_block block_of_item(index_t sequence, index_t query_length, index_t item) {
  const index_t blocks = ceil_div(query_length, geometry<Isa>::block_rows);
  return {sequence, item / blocks, blocks - 1 - item % blocks};
}

/// The first block of a bundle, if prefill computes it.
template <class Isa, class Problem>
std::optional<query_block> first_block(const Problem& problem, const item_bundle& bundle) {
  const attention_shape shape = problem.shape_of(bundle.sequence);
  if (is_decoded(problem.opts, shape)) return std::nullopt;
  return block_of_item<Isa>(bundle.sequence, shape.query_length, bundle.first);
}

/// Runs a bundle with the prefill kernel. `after` is the block that the worker computes next.
template <class Isa, class Problem>
void attend_prefill(const problem_sequence<Problem>& sequence,
                    const call_workspace<Isa, Problem>& workspace, const item_bundle& bundle,
                    const std::optional<query_block>& after, index_t worker) {
  using workspace_type = call_workspace<Isa, Problem>;
  using head_type = policy_head<Isa, Problem>;
  prefill_workspace<Isa> memory = workspace.prefill_workspace_of(worker);
  const auto block_of = [&](index_t item) {
    return block_of_item<Isa>(sequence.at, sequence.shape.query_length, item);
  };
  [[maybe_unused]] index_t rotated_head = -1;
  for (index_t item = bundle.first; item < bundle.last; ++item) {
    const query_block block = block_of(item);
    const index_t key_head = sequence.shape.key_head(block.head);
    if constexpr (workspace_type::rotates_keys) {
      if (workspace.rotates_by_worker() && key_head != rotated_head) {
        rotate_keys<Isa>(
            sequence.call, sequence.at, key_head, {0, sequence.shape.key_length}, memory,
            workspace.rotated_keys(sequence.call.source, sequence.at, key_head, worker));
        rotated_head = key_head;
      }
    }
    const head_type head(sequence, workspace, key_head, memory, worker,
                         item + 1 < bundle.last ? block_of(item + 1) : after);
    const auto attend = [&]<class Operand>(std::type_identity<Operand>) {
      prefill<Isa, typename head_type::biases_type, typename head_type::masks_type, Operand>(head,
                                                                                             memory)
          .attend(block.head, block.index);
    };
    if constexpr (compiles_pairs<Isa, typename Problem::source_type>) {
      if (call_multiplies_pairs<Isa>(sequence.call)) {
        attend(std::type_identity<bfloat16_pair>());
        continue;
      }
    }
    attend(std::type_identity<float>());
  }
}

/// Runs bundle `i` of the plan.
template <class Isa, class Problem>
void attend_bundle(const Problem& problem, const call_workspace<Isa, Problem>& workspace, index_t i,
                   index_t worker) {
  const work_plan& plan = workspace.plan();
  const item_bundle bundle = plan.bundle(i);
  const problem_sequence<Problem> sequence = problem.of(bundle.sequence);
  if (is_decoded(problem.opts, sequence.shape)) {
    attend_decode<Isa>(sequence, workspace, bundle, worker);
    return;
  }
  // One of several workers hardly ever takes the next bundle.
  const bool goes_on = workspace.workers() == 1 && i + 1 < plan.attend_count();
  attend_prefill<Isa>(sequence, workspace, bundle,
                      goes_on ? first_block<Isa>(problem, plan.bundle(i + 1)) : std::nullopt,
                      worker);
}

template <class Isa, executor Executor, class Problem>
void run_attention(const Executor& runner, const Problem& problem,
                   const call_workspace<Isa, Problem>& workspace) {
  const preparation<Isa, Problem> prepare(problem, workspace);
  const work_plan& plan = workspace.plan();
  runner.run(prepare.count(), [&](index_t i, index_t worker) { prepare.run(i, worker); });
  runner.run(plan.attend_count(),
             [&](index_t i, index_t worker) { attend_bundle<Isa>(problem, workspace, i, worker); });
  runner.run(plan.merge_count(), [&](index_t i, [[maybe_unused]] index_t worker) {
    const work_plan::merged_head merged = plan.merge_item(i);
    const problem_sequence<Problem> sequence = problem.of(merged.sequence);
    const decoded_sequence& decoded = plan.decoded(merged.sequence);
    const auto head_policies = bind_all(problem.policies, merged.sequence, merged.head);
    for (index_t row = 0; row < sequence.shape.query_length; ++row) {
      merge_decoded(sequence.shape, decoded, workspace.states(), merged.head, row,
                    log2e * sink_logit(head_policies, row), sequence.out(), sequence.lse);
      if constexpr (Problem::has_bias) {
        const float largest =
            largest_exponent(sequence.shape, decoded, workspace.states(), merged.head, row);
        if (largest >= extreme_exponent) continue;
        attend_extreme_row<Isa>(sequence, merged.head, row,
                                workspace.decode_workspace_of(worker).value_buffer);
      }
    }
  });
}

}  // namespace relpos::inline RELPOS_ABI
