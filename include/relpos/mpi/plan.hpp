#pragma once
// What this rank receives and sends: from the masks once for a call, and for each run from the
// numbers of queries and keys, if a bias decays.

#include <mpi.h>

#include <algorithm>
#include <cstddef>
#include <tuple>
#include <vector>

#include "relpos/call/options.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"
#include "relpos/mpi/far_keys.hpp"
#include "relpos/mpi/group.hpp"
#include "relpos/mpi/needs.hpp"
#include "relpos/mpi/placed.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

class transfer_plan {
 public:
  transfer_plan() = default;

  /// What masks show this rank's queries.
  template <class... Policies>
  transfer_plan(const group& ranks, const std::tuple<Policies...>& policies,
                const attention_shape& shape)
      : receives_(ranks, shape.key_heads),
        sends_(receives_),
        own_pieces_(ranks.queries().of(ranks.rank()).size()) {
    seen_.resize(static_cast<std::size_t>(ranks.size() * receives_.pieces) * own_pieces_);
    const auto& own = ranks.queries().of(ranks.rank());
    for (int rank = 0; rank < ranks.size(); ++rank) {
      const auto& pieces = ranks.keys().of(rank);
      for (std::size_t piece = 0; piece < pieces.size(); ++piece) {
        for (std::size_t i = 0; i < own_pieces_; ++i) {
          const row_place begin{.query = first_row(own, i)};
          seen_[place(rank, static_cast<index_t>(piece), i)] =
              seen_keys(all_placed(policies, begin), shape, own[i], pieces[piece]);
        }
      }
    }
    need_all_that_is_seen(ranks);
    const std::size_t of_rank = static_cast<std::size_t>(receives_.pieces * shape.key_heads);
    norms_.queries.resize(own_pieces_ * static_cast<std::size_t>(shape.query_heads));
    norms_.key_pieces.resize(of_rank);
    norms_.own_scores.resize(norms_.queries.size());
    norms_.keys.resize(of_rank * static_cast<std::size_t>(ranks.size()));
    if constexpr (can_bound_needs<Policies...>) {
      queries_see_themselves_ = queries_see_themselves(ranks, policies, shape);
    }
  }

  /// The positions in a piece of a rank's keys that masks show to a piece of this rank's queries.
  const key_range& seen(int rank, index_t piece, std::size_t queries) const {
    return seen_[place(rank, piece, queries)];
  }

  /// What this rank needs of others.
  const range_table& receives() const { return receives_; }
  /// What others need of this rank.
  const range_table& sends() const { return sends_; }

  /// Tells the others. Collective.
  void exchange_needs(const group& ranks) { exchange_tables(ranks, receives_, sends_); }

  /// Leaves out the keys whose weights are all zero, by the norms of the rows as they are now. Adds
  /// the seconds of waiting for other ranks. Collective.
  template <executor Executor, class Query, class Key, class... Policies>
  void narrow([[maybe_unused]] const Executor& runner, const group& ranks,
              const std::tuple<Policies...>& policies, const attention_shape& shape,
              const options& opts, const view<const Query, 4>& q, const view<const Key, 4>& k,
              [[maybe_unused]] double& waiting) {
    if constexpr (can_bound_needs<Policies...>) {
      if (opts.statistics.of_logits() || shape.key_heads == 0) return;
      find_norms(runner, norms_.queries, q, ranks.queries().of(ranks.rank()));
      find_norms(runner, norms_.key_pieces, k, ranks.keys().of(ranks.rank()));
      if (queries_see_themselves_) {
        find_own_scores(runner, norms_.own_scores, q, k, ranks.queries().of(ranks.rank()),
                        static_cast<double>(score_scale(opts, policies, shape.head_dim)),
                        score_rounding(opts));
      }
      const auto count = static_cast<int>(norms_.key_pieces.size());
      double begin = MPI_Wtime();
      MPI_Allgather(norms_.key_pieces.data(), count, MPI_DOUBLE, norms_.keys.data(), count,
                    MPI_DOUBLE, ranks.communicator());
      waiting += MPI_Wtime() - begin;
      need_all_that_is_seen(ranks);
      if (queries_see_themselves_) {
        apply_bound(receives_, policies, shape, opts, ranks, norms_,
                    [&](int rank, index_t piece, std::size_t i) { return seen(rank, piece, i); });
      }
      begin = MPI_Wtime();
      exchange_needs(ranks);
      waiting += MPI_Wtime() - begin;
    }
  }

 private:
  std::size_t place(int rank, index_t piece, std::size_t queries) const {
    return static_cast<std::size_t>(rank * receives_.pieces + piece) * own_pieces_ + queries;
  }

  void need_all_that_is_seen(const group& ranks) {
    for (int rank = 0; rank < ranks.size(); ++rank) {
      if (rank == ranks.rank()) continue;
      for (index_t piece = 0; piece < receives_.pieces; ++piece) {
        key_range all;
        for (std::size_t i = 0; i < own_pieces_; ++i) all = hull(all, seen(rank, piece, i));
        for (index_t head = 0; head < receives_.key_heads; ++head) {
          receives_.at(rank, piece, head) = all;
        }
      }
    }
  }

  /// Whether this rank has the key at the position of each of its queries, and masks show it.
  template <class... Policies>
  static bool queries_see_themselves(const group& ranks, const std::tuple<Policies...>& policies,
                                     const attention_shape& shape) {
    const auto& queries = ranks.queries().of(ranks.rank());
    if (queries != ranks.keys().of(ranks.rank())) return false;
    for (index_t batch = 0; batch < shape.batch; ++batch) {
      for (index_t head = 0; head < shape.query_heads; ++head) {
        const auto of_head = bind_all(policies, batch, head);
        for (const key_range& piece : queries) {
          for (index_t position = piece.first; position < piece.last; ++position) {
            const key_range seen = visible_key_rows(of_head, position, piece.first, rows_of(piece));
            if (!seen.contains(position - piece.first)) return false;
          }
        }
      }
    }
    return true;
  }

  range_table receives_{};
  range_table sends_{};
  std::size_t own_pieces_ = 0;
  bool queries_see_themselves_ = false;
  row_norms norms_{};
  std::vector<key_range> seen_{};  // [rank][piece of keys][piece of own queries]
};

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
