#pragma once
// A call over rows that are spread over ranks, checked and planned.
//
// Each rank keeps its queries, and the keys and values of the other ranks come to it: in step s of
// one less than the number of ranks, rank r computes with the rows of rank r + s - 1 while the rows
// of rank r + s travel from their owner. The states merge in the order of the steps, so the bits of
// a row do not depend on when messages arrive. (Liu et al., "Ring Attention", arXiv 2310.01889,
// passes rows on from neighbour to neighbour. Owners send here, because they can leave out the rows
// that a receiver does not need.)

#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/mpi/agreement.hpp"
#include "relpos/mpi/check_rank.hpp"
#include "relpos/mpi/exchange.hpp"
#include "relpos/mpi/group.hpp"
#include "relpos/mpi/needs.hpp"
#include "relpos/mpi/placed.hpp"
#include "relpos/mpi/plan.hpp"
#include "relpos/mpi/states.hpp"
#include "relpos/mpi/visible_counts.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// @addtogroup mpi
/// @{

/// Where the time of a call went, and what it sent, on this rank.
struct traffic {
  double seconds = 0.0;        ///< of the whole run
  double waiting = 0.0;        ///< seconds of it in which this rank waited for other ranks
  std::size_t bytes_sent = 0;  ///< of keys and values, to all other ranks
};

/// @}

/// A checked call: what `prepare` returns.
template <class Isa, class Out, class Query, class Key, class Value, class... Policies>
class prepared_attention {
 public:
  /// What `prepare` calls. Collective.
  template <executor Executor>
  prepared_attention(const Executor& runner, const group& ranks, const view<Out, 4>& out,
                     const view<const Query, 4>& q, const view<const Key, 4>& k,
                     const view<const Value, 4>& v, const options& opts,
                     const std::tuple<Policies...>& policies)
      : ranks_(&ranks),
        out_(out),
        q_(q),
        k_(k),
        v_(v),
        opts_(opts),
        policies_(policies),
        shape_(attention_shape::of(q, k, v)) {
    std::vector<std::uint64_t> all_facts;
    call_facts facts;
    valid_ = agree(ranks, guarded([&] {
                     all_facts.resize(static_cast<std::size_t>(ranks.size()) * call_facts::words);
                     if (status valid = check(runner); !valid) return valid;
                     facts = call_facts::of<Query, Key, Value>(shape_, opts_, policies_, ranks);
                     return status();
                   }));
    if (valid_) valid_ = agree_on(ranks, facts, all_facts);
    if (!valid_) return;
    valid_ = agree(ranks, guarded([&] {
                     plan_ = transfer_plan(ranks, policies_, shape_);
                     counts_ = visible_counts(ranks, policies_, shape_);
                     return allocate_states(runner);
                   }));
    if (!valid_) return;
    plan_.exchange_needs(ranks);
    valid_ = agree(ranks, guarded([&] { return allocate_messages(); }));
  }

  /// Success, or why all ranks refuse the call.
  const status& valid() const { return valid_; }

  /// The rows of keys that this rank receives of another, one head's counted: as planned, or, after
  /// a run with a bias that decays, in that run.
  index_t rows_needed_of(int rank) const {
    index_t result = 0;
    if (!valid_ || rank == ranks_->rank()) return result;
    for (index_t piece = 0; piece < plan_.receives().pieces; ++piece) {
      result += rows_of(plan_.receives().of_all_heads(rank, piece));
    }
    return result;
  }

  /// Computes the call. Collective; allocates nothing. The executor has no more workers than the one
  /// that `prepare` was given. All ranks get the same failure, and then out is not written.
  template <executor Executor>
  status run(const Executor& runner, traffic* report = nullptr) noexcept {
    static_assert(!is_team_member<Executor>, "relpos: threads that make the same call are no rank");
    if (!valid_) return valid_;
    const double begin = MPI_Wtime();
    traffic done;
    const auto wait_for = [&](const auto& others) {
      const double before = MPI_Wtime();
      others();
      done.waiting += MPI_Wtime() - before;
    };
    status result;
    wait_for([&] { result = agree(*ranks_, check_runner(runner, workers_)); });
    if (!result) return result;
    plan_.narrow(runner, *ranks_, policies_, shape_, opts_, q_, k_, done.waiting);
    std::fill(started_.begin(), started_.end(), false);
    begin_step(runner, 1, exchanges_[1], done);
    compute_own(progressing<Executor>{runner, exchanges_[1]}, result);
    for (int step = 1; step < ranks_->size(); ++step) {
      exchange& arriving = exchanges_[step % 2];
      exchange& next = exchanges_[(step + 1) % 2];
      wait_for([&] { arriving.wait(); });
      begin_step(runner, step + 1, next, done);
      compute_received(progressing<Executor>{runner, next}, arriving, owner(step), result);
    }
    add_to_untouched(runner, result);
    wait_for([&] { result = agree(*ranks_, result); });
    if (result) write_results(runner, total_.state(of_results(shape_.query_length)), out_, opts_);
    done.seconds = MPI_Wtime() - begin;
    if (report != nullptr) *report = done;
    return result;
  }

 private:
  const std::vector<key_range>& own_queries() const { return ranks_->queries().of(ranks_->rank()); }
  const std::vector<key_range>& own_keys() const { return ranks_->keys().of(ranks_->rank()); }
  int owner(int step) const { return (ranks_->rank() + step) % ranks_->size(); }
  int receiver(int step) const { return (ranks_->rank() - step + ranks_->size()) % ranks_->size(); }
  row_sizes sizes() const { return {shape_.batch, shape_.head_dim, shape_.value_dim}; }

  options options_of_pair(index_t query_offset, index_t key_offset) const {
    options result = opts_;
    result.lse = std::nullopt;
    result.statistics = {};
    result.query_offset = query_offset;
    result.key_offset = key_offset;
    return result;
  }

  /// What this rank can see to be wrong.
  template <executor Executor>
  status check(const Executor& runner) const {
    if (status valid = check_group(*ranks_, shape_, opts_); !valid) return valid;
    options whole = opts_;
    whole.query_offset = 0;
    const status valid = relpos::prepare<Isa>(runner, out_, q_, k_, v_, whole).valid();
    if (!valid) return valid;
    if (status mergeable = check_mergeable(opts_.statistics); !mergeable) return mergeable;
    if (status fits = check_positions(*ranks_, q_, k_, v_, opts_, policies_); !fits) return fits;
    status apart;
    for_each_written(call_outputs<Out>{out_, opts_.lse, opts_.statistics},
                     [&](const labelled_memory& output) {
                       if (apart) apart = check_apart_from_policies(output, policy_data(policies_));
                     });
    return apart ? check_factors(opts_, policies_, shape_) : apart;
  }

  /// Memory for states, and the workspace of the largest piece of work; refuses a piece that kernels
  /// would refuse.
  template <executor Executor>
  status allocate_states(const Executor& runner) {
    const auto& queries = own_queries();
    index_t longest = 0;
    for (const key_range& each : queries) longest = std::max(longest, rows_of(each));
    started_.resize(queries.size());
    total_ = state_memory(of_results(shape_.query_length), opts_.statistics);
    added_ = state_memory(of_results(longest), opts_.statistics);
    // Rows for calls that are checked only: one row, read again and again.
    dense_keys_.resize(static_cast<std::size_t>(shape_.head_dim));
    dense_values_.resize(static_cast<std::size_t>(std::max(shape_.value_dim, index_t{1})));
    workers_ = worker_count(runner);
    std::size_t most = 1;
    const auto measure = [&](std::size_t i, const key_range& keys) {
      const auto rows = [&]<class T>(const std::vector<T>& row, index_t channels) {
        return view<const T, 4>(
            row.data(), {shape_.batch, shape_.key_heads, rows_of(keys), channels}, {0, 0, 0, 1});
      };
      return with_policies(place_of(i, keys.first), [&](const auto&... policies) {
        const auto call = relpos::prepare<Isa>(
            runner, added_.state(of_results(rows_of(queries[i]))), own_rows(q_, i),
            rows(dense_keys_, shape_.head_dim), rows(dense_values_, shape_.value_dim), policies...,
            options_of_pair(queries[i].first, keys.first));
        most = std::max(most, call.workspace_bytes());
        return call.valid();
      });
    };
    for (std::size_t i = 0; i < queries.size(); ++i) {
      if (is_empty(queries[i])) continue;
      if (status valid = measure(i, no_keys()); !valid) return valid;
      for (int rank = 0; rank < ranks_->size(); ++rank) {
        for (std::size_t piece = 0; piece < ranks_->keys().of(rank).size(); ++piece) {
          const key_range& seen = plan_.seen(rank, static_cast<index_t>(piece), i);
          if (is_empty(seen)) continue;
          if (status valid = measure(i, seen); !valid) return valid;
        }
      }
    }
    workspace_.resize(most);
    return {};
  }

  /// Memory for what travels.
  status allocate_messages() {
    std::size_t sent = 0, received = 0;
    index_t rows = 1;
    for (int rank = 0; rank < ranks_->size(); ++rank) {
      sent = std::max(sent, bytes_of(plan_.sends(), rank));
      received = std::max(received, bytes_of(plan_.receives(), rank));
      for (index_t piece = 0; piece < plan_.receives().pieces; ++piece) {
        rows = std::max(rows, rows_of(plan_.receives().of_all_heads(rank, piece)));
      }
    }
    for (exchange& each : exchanges_) each.reserve(*ranks_, sent, received);
    if constexpr (can_bound_needs<Policies...>) {  // else all heads need the same rows
      const index_t of_heads = shape_.batch * shape_.key_heads * rows;
      dense_keys_.resize(static_cast<std::size_t>(of_heads * shape_.head_dim));
      dense_values_.resize(static_cast<std::size_t>(of_heads * shape_.value_dim));
    }
    return {};
  }

  /// The shape of so many rows of results.
  std::array<index_t, 4> of_results(index_t rows) const {
    return {shape_.batch, shape_.query_heads, rows, shape_.value_dim};
  }

  /// The rows of a piece of this rank's queries.
  template <class T, int Rank>
  view<T, Rank> own_rows(const view<T, Rank>& all, std::size_t queries) const {
    return all.slice(2, first_row(own_queries(), queries), rows_of(own_queries()[queries]));
  }

  /// An empty range, which begins with the keys of all ranks.
  key_range no_keys() const {
    const index_t first = hull_of(ranks_->keys()).first;
    return {first, first};
  }

  row_place place_of(std::size_t queries, index_t key) const {
    return {first_row(own_queries(), queries), key, key - own_queries()[queries].first,
            counts_.rows()};
  }

  /// use(policies...) for a call whose rows begin at `first`.
  template <class Use>
  auto with_policies(const row_place& first, const Use& use) const {
    return std::apply(use, all_placed(policies_, first));
  }

  std::size_t bytes_of(const range_table& table, int rank) const {
    return for_each_part<Key, Value>(table, rank, sizes(),
                                     [](index_t, std::size_t, std::size_t) {});
  }

  template <executor Executor>
  void begin_step(const Executor& runner, int step, exchange& messages, traffic& report) {
    if (step >= ranks_->size()) return;
    const int to = receiver(step);
    const std::size_t sent = bytes_of(plan_.sends(), to);
    for_each_part<Key, Value>(
        plan_.sends(), to, sizes(), [&](index_t piece, std::size_t keys, std::size_t values) {
          const auto number = static_cast<std::size_t>(piece);
          const index_t start = own_keys()[number].first - first_row(own_keys(), number);
          pack(runner, reinterpret_cast<Key*>(messages.outgoing.data() + keys), k_, plan_.sends(),
               to, piece, start);
          pack(runner, reinterpret_cast<Value*>(messages.outgoing.data() + values), v_,
               plan_.sends(), to, piece, start);
        });
    messages.start(*ranks_, to, sent, owner(step), bytes_of(plan_.receives(), owner(step)));
    report.bytes_sent += sent;
  }

  template <executor Executor>
  void compute_own(const Executor& runner, status& result) {
    for (std::size_t piece = 0; piece < own_keys().size(); ++piece) {
      const index_t row = first_row(own_keys(), piece);
      const key_range& keys = own_keys()[piece];
      compute(runner, ranks_->rank(), static_cast<index_t>(piece), keys,
              k_.slice(2, row, rows_of(keys)), v_.slice(2, row, rows_of(keys)), result);
    }
  }

  template <executor Executor>
  void compute_received(const Executor& runner, const exchange& messages, int rank,
                        status& result) {
    for_each_part<Key, Value>(
        plan_.receives(), rank, sizes(), [&](index_t piece, std::size_t keys, std::size_t values) {
          const key_range all = plan_.receives().of_all_heads(rank, piece);
          const std::array<index_t, 3> of_rows{shape_.batch, shape_.key_heads, rows_of(all)};
          const auto k =
              received_rows(runner, reinterpret_cast<const Key*>(messages.incoming.data() + keys),
                            dense_keys_, of_rows, shape_.head_dim, plan_.receives(), rank, piece);
          const auto v = received_rows(
              runner, reinterpret_cast<const Value*>(messages.incoming.data() + values),
              dense_values_, of_rows, shape_.value_dim, plan_.receives(), rank, piece);
          compute(runner, rank, piece, all, k, v, result);
        });
  }

  /// Adds the keys at positions `keys` to the states of the queries that see some of them.
  template <executor Executor>
  void compute(const Executor& runner, int rank, index_t piece, const key_range& keys,
               const view<const Key, 4>& k, const view<const Value, 4>& v, status& result) {
    for (std::size_t i = 0; i < own_queries().size(); ++i) {
      const key_range seen = intersect(plan_.seen(rank, piece, i), keys);
      if (is_empty(seen)) continue;
      const index_t first = seen.first - keys.first;
      add(runner, i, k.slice(2, first, rows_of(seen)), v.slice(2, first, rows_of(seen)), seen.first,
          result);
    }
  }

  /// The state of a piece of this rank's queries, within the results.
  partial_state state_of(std::size_t i) {
    const partial_state whole = total_.state(of_results(shape_.query_length));
    return {
        own_rows(whole.out, i), own_rows(whole.lse, i),
        slice_statistics(whole.statistics, first_row(own_queries(), i), rows_of(own_queries()[i]))};
  }

  template <executor Executor>
  void add(const Executor& runner, std::size_t i, const view<const Key, 4>& k,
           const view<const Value, 4>& v, index_t key_offset, status& result) {
    const key_range& queries = own_queries()[i];
    const partial_state total = state_of(i);
    const partial_state state = started_[i] ? added_.state(of_results(rows_of(queries))) : total;
    const row_place place = place_of(i, key_offset);
    status done = with_policies(place, [&](const auto&... policies) {
      return relpos::partial<Isa>(runner, workspace_, state, own_rows(q_, i), k, v, policies...,
                                  options_of_pair(queries.first, key_offset));
    });
    if (done && started_[i]) done = merge_states(runner, place, total, state);
    started_[i] = true;
    if (result) result = done;
  }

  template <executor Executor>
  status merge_states(const Executor& runner, const row_place& place, const partial_state& into,
                      const partial_state& from) const {
    status result;
    bool merged = false;
    const auto with_sinks = [&]<class Policy>(const Policy& policy) {
      if constexpr (has_sink<head_policy_of<Policy>>) {
        result = relpos::merge(runner, into, from, placed(policy, place));
        merged = true;
      }
    };
    std::apply([&](const auto&... policy) { (with_sinks(policy), ...); }, policies_);
    return merged ? result : relpos::merge(runner, into, from);
  }

  /// Computes the rows of queries that saw no key of any rank.
  template <executor Executor>
  void add_to_untouched(const Executor& runner, status& result) {
    for (std::size_t i = 0; i < own_queries().size(); ++i) {
      if (started_[i] || is_empty(own_queries()[i])) continue;
      add(runner, i, k_.slice(2, 0, 0), v_.slice(2, 0, 0), no_keys().first, result);
    }
  }

  const group* ranks_;
  view<Out, 4> out_;
  view<const Query, 4> q_;
  view<const Key, 4> k_;
  view<const Value, 4> v_;
  options opts_;
  std::tuple<Policies...> policies_;
  attention_shape shape_;
  status valid_{};
  transfer_plan plan_{};
  visible_counts counts_{};
  std::array<exchange, 2> exchanges_{};
  std::vector<std::byte> workspace_{};
  std::vector<Key> dense_keys_{};
  std::vector<Value> dense_values_{};
  state_memory total_{}, added_{};
  std::vector<bool> started_{};
  index_t workers_ = 1;
};

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
