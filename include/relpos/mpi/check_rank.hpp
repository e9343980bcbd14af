#pragma once
// What a rank can see to be wrong with its own arguments.

#include <algorithm>
#include <iterator>
#include <tuple>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/call/options.hpp"
#include "relpos/check/call.hpp"
#include "relpos/check/lengths.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"
#include "relpos/mpi/group.hpp"
#include "relpos/mpi/placed.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// Refuses shards that do not fit the communicator, or a rank's tensors. `tensor` is the argument's
/// name, `name` the member of group.
inline status check_shards(const char* tensor, const char* name, const sequence_shards& shards,
                           const group& ranks, index_t rows) {
  if (shards.ranks() != ranks.size()) {
    return status::error(status_code::invalid_shape,
                         "group.%s: shards of %d ranks, but the communicator has %d", name,
                         shards.ranks(), ranks.size());
  }
  for (const auto& pieces : shards.pieces) {
    for (const key_range& piece : pieces) {
      if (0 <= piece.first && piece.first <= piece.last && piece.last <= max_offset) continue;
      return status::error(status_code::invalid_value,
                           "group.%s: a piece is [%lld, %lld), must be a range within [0, 2^60]",
                           name, static_cast<long long>(piece.first),
                           static_cast<long long>(piece.last));
    }
  }
  if (shards.rows(ranks.rank()) == rows) return {};
  return status::error(status_code::invalid_shape,
                       "%s: %lld rows, must be %lld: the group's %s of this rank", tensor,
                       static_cast<long long>(rows),
                       static_cast<long long>(shards.rows(ranks.rank())), name);
}

/// Refuses positions that two pieces have: weights of keys would count twice. `name` is the member of
/// group.
inline status check_disjoint(const char* name, const sequence_shards& shards) {
  std::vector<key_range> all;
  for (const auto& pieces : shards.pieces) {
    std::copy_if(pieces.begin(), pieces.end(), std::back_inserter(all),
                 [](const key_range& piece) { return !is_empty(piece); });
  }
  std::sort(all.begin(), all.end(),
            [](const key_range& a, const key_range& b) { return a.first < b.first; });
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (all[i - 1].last <= all[i].first) continue;
    return status::error(status_code::invalid_value,
                         "group.%s: position %lld is in two pieces, must be in one", name,
                         static_cast<long long>(all[i].first));
  }
  return {};
}

/// Refuses a group that does not fit the tensors, and options that say what the group says.
inline status check_group(const group& ranks, const attention_shape& shape, const options& opts) {
  if (status valid = check_shards("q", "queries", ranks.queries(), ranks, shape.query_length);
      !valid) {
    return valid;
  }
  if (status valid = check_shards("k", "keys", ranks.keys(), ranks, shape.key_length); !valid) {
    return valid;
  }
  if (status valid = check_disjoint("queries", ranks.queries()); !valid) return valid;
  if (status valid = check_disjoint("keys", ranks.keys()); !valid) return valid;
  if (opts.query_offset || opts.key_offset != 0 || !opts.query_offsets.empty() ||
      !opts.key_offsets.empty() || !opts.query_starts.empty() || !opts.key_starts.empty()) {
    return status::error(status_code::invalid_value,
                         "options: offsets and starts must be absent, because the group has the "
                         "positions of all rows");
  }
  if (1 <= ranks.largest_message() && ranks.largest_message() <= std::size_t{1} << 30) return {};
  return status::error(status_code::invalid_value,
                       "group.largest_message: is %zu bytes, must be from 1 to 2^30",
                       ranks.largest_message());
}

/// Refuses an executor with more workers than the one that `prepare` was given.
template <executor Executor>
status check_runner(const Executor& runner, index_t most_workers) {
  if (status valid = check_workers(runner); !valid) return valid;
  if (worker_count(runner) <= most_workers) return {};
  return status::error(
      status_code::invalid_value, "executor: %lld workers, must be at most %lld, as in prepare",
      static_cast<long long>(worker_count(runner)), static_cast<long long>(most_workers));
}

/// Refuses statistics that cannot be merged.
inline status check_mergeable(const row_statistics& wanted) {
  const bool mean = wanted.logit_mean.has_value(), variance = wanted.logit_variance.has_value();
  if ((!mean || wanted.logit_count) && (!variance || mean)) return {};
  return status::error(status_code::invalid_value,
                       "options.statistics: over ranks, logit_mean needs logit_count, and "
                       "logit_variance needs both; one of them is absent");
}

/// Refuses sequences at these positions that a policy's data does not fit.
template <class Query, class Key, class Value, class... Policies>
status check_sequences_at(const key_range& queries, const key_range& keys,
                          const view<const Query, 4>& q, const view<const Key, 4>& k,
                          const view<const Value, 4>& v, const options& opts,
                          const std::tuple<Policies...>& policies) {
  const auto rows = [](auto tensor, const key_range& range) {
    tensor.shape[2] = rows_of(range);
    return tensor;
  };
  options at_positions = opts;
  at_positions.query_offset = queries.first;
  at_positions.key_offset = keys.first;
  return check_sequences(make_problem(view<float, 4>(), rows(q, queries),
                                      tensor_kv_of<Key, Value>{rows(k, keys), rows(v, keys)}, {},
                                      at_positions, policies));
}

/// The rows of queries that a policy's check_sequences gets.
enum class checked_rows { of_all_ranks, of_this_rank, of_a_piece };

template <class Policy>
inline constexpr checked_rows rows_checked_by =
    selects_keys<Policy>                                 ? checked_rows::of_this_rank
    : reads_rows<Policy> && !reads_row_distances<Policy> ? checked_rows::of_a_piece
                                                         : checked_rows::of_all_ranks;

/// The policies whose check_sequences gets these rows.
template <checked_rows Rows, class... Policies>
constexpr auto policies_checking(const std::tuple<Policies...>& policies) {
  constexpr auto if_checking = []<class Policy>(const Policy& policy) {
    if constexpr (rows_checked_by<Policy> == Rows) {
      return std::tuple<Policy>(policy);
    } else {
      return std::tuple<>();
    }
  };
  return std::apply([&](const auto&... policy) { return std::tuple_cat(if_checking(policy)...); },
                    policies);
}

/// Refuses policies whose data does not fit the positions of the queries and keys of all ranks; data
/// with a number for each query row must fit this rank's rows.
template <class Query, class Key, class Value, class... Policies>
status check_positions(const group& ranks, const view<const Query, 4>& q,
                       const view<const Key, 4>& k, const view<const Value, 4>& v,
                       const options& opts, const std::tuple<Policies...>& policies) {
  key_range keys = hull_of(ranks.keys()), queries = hull_of(ranks.queries());
  attention_shape shape = attention_shape::of(q, k, v);
  shape.key_length = keys.last;
  if (status valid = check_policies(policies, shape); !valid) return valid;
  // No rows begin where the others do.
  if (is_empty(keys)) keys = {queries.first, queries.first};
  if (is_empty(queries)) queries = {keys.first, keys.first};
  const auto check = [&](const key_range& rows, const auto& of_rows) {
    return check_sequences_at(rows, keys, q, k, v, opts, of_rows);
  };
  const auto of_all_ranks = policies_checking<checked_rows::of_all_ranks>(policies);
  if (status valid = check(queries, of_all_ranks); !valid) return valid;
  const auto of_this_rank = policies_checking<checked_rows::of_this_rank>(policies);
  if (status valid = check({0, shape.query_length}, of_this_rank); !valid) return valid;
  const auto of_a_piece = policies_checking<checked_rows::of_a_piece>(policies);
  for (const key_range& piece : ranks.queries().of(ranks.rank())) {
    if (status valid = check(piece, of_a_piece); !valid) return valid;
  }
  return {};
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
