#pragma once
// A call that has been checked, whose workspace size is known, and that may run any number of
// times. `prepare` (attention.hpp) returns it.

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

/// @cond
template <class Isa, class Out, class Query, class Source, class Policies>
class prepared_call;
/// @endcond

/// @addtogroup prepare
/// @{

/// A call that has been checked, whose workspace size is known, and that may run any number of
/// times: the result of `prepare`.
///
/// It keeps the views and policies of its call, and refers to their data. Numbers in tensors may
/// change between two runs, and so may the matrices, gates and coefficients of policies. Checked
/// data may not change: shapes and strides, lists of sequences, block tables, all other data of
/// policies. A cache whose lengths have changed is another call, and `run` refuses it.
template <class Isa, class Out, class Query, class Source, class... Policies>
class prepared_call<Isa, Out, Query, Source, std::tuple<Policies...>> {
 public:
  /// `valid` is the result of earlier checks; a failure in it refuses the call.
  template <executor Executor>
  prepared_call(const Executor& runner, const status& valid, const call_outputs<Out>& outputs,
                const view<const Query, 4>& q, const Source& source, const options& opts,
                const std::tuple<Policies...>& policies)
      : valid_(valid), outputs_(outputs), workers_(worker_count(runner)) {
    if (valid_) valid_ = source.check(q, opts);
    if (!valid_) return;
    const attention_shape shape = shape_of_call(q, source, opts);
    valid_ = check_call(outputs, q, source, opts, shape, policies, workers_);
    if (valid_) valid_ = check_arithmetic(opts, holds_bfloat16<Source>);
    if (valid_) valid_ = check_workers(runner);
    if (!valid_) return;
    options resolved = opts;
    resolved.statistics = outputs.statistics;  // for `partial`, those in its state
    problem_.emplace(outputs.out, q, source, outputs.lse_or_none(), shape, resolved, policies);
    valid_ = check_sequences(*problem_);
    if (valid_) valid_ = check_matrix_unit<Isa>(*problem_);
    if (!valid_) {
      problem_.reset();
      return;
    }
    lengths_ = sum_of_lengths(*problem_);
    workspace_bytes_ = call_workspace_bytes<Isa>(*problem_, workers_);
  }

  /// Success, or the failure that `attention` would return for this call with any workspace. If it
  /// is a failure, `run` returns it and does nothing.
  status valid() const { return valid_; }

  /// The bytes of workspace that `run` needs; 0 if the call is not valid.
  std::size_t workspace_bytes() const { return workspace_bytes_; }
  /// @deprecated Renamed to workspace_bytes.
  [[deprecated("relpos: renamed to workspace_bytes")]] std::size_t scratch_bytes() const {
    return workspace_bytes_;
  }

  /// Computes attention. The executor must not have more workers than the call was prepared for.
  /// Refuses changed lengths of a cache, and a workspace that is too small or overlaps the memory
  /// of the call.
  template <executor Executor>
  status run(const Executor& runner, workspace memory) const noexcept {
    if (!problem_) return valid_;
    if (status fits = check_workers_of(runner); !fits) return fits;
    if (sum_of_lengths(*problem_) != lengths_) {
      return status::error(
          status_code::invalid_value,
          "cache.lengths: have changed since the call was prepared, prepare it again");
    }
    if (status fits = check_workspace(memory, workspace_bytes_); !fits) return fits;
    if (status apart = check_workspace_overlap(byte_range::of(memory.data, workspace_bytes_),
                                               outputs_, problem_->q, problem_->source,
                                               problem_->opts, policy_data(problem_->policies));
        !apart) {
      return apart;
    }
    arena pieces(memory);
    run_attention<Isa>(runner, *problem_,
                       call_workspace<Isa, problem_type>(pieces, *problem_, workers_));
    return {};
  }

 private:
  using problem_type = attention_problem<Out, Query, Source, Policies...>;

  /// A sum of the lengths, weighted by the place of the sequence: one more row in one sequence and
  /// one less in another change it. 0 if all lengths are equal.
  static std::uint64_t sum_of_lengths(const problem_type& problem) {
    std::uint64_t sum = 0;
    if (problem.source.lengths_are_equal()) return sum;
    for (index_t sequence = 0; sequence < problem.shape.batch; ++sequence) {
      sum = 31 * sum + static_cast<std::uint64_t>(problem.source.length(sequence));
    }
    return sum;
  }

  template <executor Executor>
  status check_workers_of(const Executor& runner) const {
    const index_t workers = worker_count(runner);
    if (1 <= workers && workers <= workers_) return {};
    return status::error(status_code::invalid_value,
                         "executor: workers() is %lld, must be 1 to %lld, the workers that the "
                         "call was prepared for",
                         static_cast<long long>(workers), static_cast<long long>(workers_));
  }

  status valid_;
  call_outputs<Out> outputs_;
  index_t workers_;
  std::uint64_t lengths_ = 0;
  std::size_t workspace_bytes_ = 0;
  std::optional<problem_type> problem_;
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
