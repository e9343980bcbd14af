#pragma once
// A call that has been checked and measured, and may be run any number of times (attention.hpp:
// prepare).

#include <cstdint>
#include <optional>
#include <tuple>

#include "relpos/check/call.hpp"
#include "relpos/check/lengths.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cpu/attention_run.hpp"
#include "relpos/cpu/common_calls.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa, class Out, class Query, class Store, class Policies>
class prepared_call;

/// Keeps the views and policies of its call, and refers to what they refer to: numbers in tensors
/// may change between two runs. What was checked may not: shapes and strides, lists of sequences,
/// block tables, the data of policies. A cache whose lengths have changed is another call, and
/// `run` refuses it.
template <class Isa, class Out, class Query, class Store, class... Policies>
class prepared_call<Isa, Out, Query, Store, std::tuple<Policies...>> {
 public:
  /// A failure in `valid`, of checks made before, refuses the call.
  template <executor Executor>
  prepared_call(const Executor& runner, const status& valid, const call_outputs<Out>& to,
                const view<const Query, 4>& q, const Store& store, const options& choice,
                const std::tuple<Policies...>& policies)
      : valid_(valid), to_(to), slots_(static_cast<index_t>(runner.slots())) {
    if (valid_) valid_ = store.check(q, choice);
    if (!valid_) return;
    const attention_shape shape = shape_of_call(q, store, choice);
    valid_ = check_call(to, q, store, choice, shape, policies);
    if (valid_) valid_ = check_slots(runner);
    if (!valid_) return;
    options resolved = choice;
    resolved.statistics = to.statistics;  // those of partial are in its state
    problem_.emplace(to.out, q, store, to.lse_or_none(), shape, resolved, policies);
    valid_ = check_sequences(*problem_);
    if (!valid_) {
      problem_.reset();
      return;
    }
    lengths_ = sum_of_lengths(*problem_);
    workspace_bytes_ = call_workspace_bytes<Isa>(*problem_, slots_);
  }

  /// What `attention` would return of the call as it is; `run` returns it too, and does nothing, if
  /// it is a failure.
  status valid() const { return valid_; }

  /// What `run` needs; 0 if the call is not valid.
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  [[deprecated("relpos: the name is workspace_bytes")]] std::size_t scratch_bytes() const {
    return workspace_bytes_;
  }

  /// Computes. The executor has no more slots than the one that the call was prepared for.
  template <executor Executor>
  status run(const Executor& runner, workspace memory) const noexcept {
    if (!problem_) return valid_;
    if (status fits = check_slots_of(runner); !fits) return fits;
    if (sum_of_lengths(*problem_) != lengths_) {
      return status::error(status_code::invalid_value,
                           "cache.lengths: have changed since the call was prepared");
    }
    if (status fits = check_workspace(memory, workspace_bytes_); !fits) return fits;
    if (status apart = check_workspace_overlap(byte_range::of(memory.data, workspace_bytes_), to_,
                                               problem_->q, problem_->store, problem_->choice,
                                               policy_data(problem_->policies));
        !apart) {
      return apart;
    }
    arena pieces(memory);
    run_attention<Isa>(runner, *problem_,
                       call_workspace<Isa, problem_type>(pieces, *problem_, slots_));
    return {};
  }

 private:
  using problem_type = attention_problem<Out, Query, Store, Policies...>;

  /// Weighted by the place of the sequence: one row more in one and less in another is another sum.
  static std::uint64_t sum_of_lengths(const problem_type& problem) {
    std::uint64_t sum = 0;
    if (problem.store.lengths_are_equal()) return sum;
    for (index_t at = 0; at < problem.shape.batch; ++at) {
      sum = 31 * sum + static_cast<std::uint64_t>(problem.store.length(at));
    }
    return sum;
  }

  template <executor Executor>
  status check_slots_of(const Executor& runner) const {
    const auto slots = static_cast<index_t>(runner.slots());
    if (1 <= slots && slots <= slots_) return {};
    return status::error(
        status_code::invalid_value,
        "executor: slots() is %lld, must be 1 to %lld, as when the call was prepared",
        static_cast<long long>(slots), static_cast<long long>(slots_));
  }

  status valid_;
  call_outputs<Out> to_;
  index_t slots_;
  std::uint64_t lengths_ = 0;
  std::size_t workspace_bytes_ = 0;
  std::optional<problem_type> problem_;
};

}  // namespace relpos::inline RELPOS_ABI
