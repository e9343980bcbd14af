#pragma once
// Far keys that a rank does not need: a decaying bias makes their weights exactly zero.
//
// A key is needed by no query of a piece if
//
//   (|q| |k| |scale| + bias) / temperature  <  (q k_self scale + bias(0)) / temperature - margin
//
// with scores behind the softcap, where |q| and |k| are the largest norms of the pieces, the right
// side is the smallest over the piece, and so at most the log-sum-exp of each query that sees the
// key at its own position, and e^-margin is zero in float32.

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

#include "relpos/call/options.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/contract/bias_bound.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"
#include "relpos/mpi/group.hpp"
#include "relpos/mpi/needs.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// Whether a call's scores have this bound: biases of a known upper bound, no rotation, whose factors
/// may grow, no mask of elements and no selected keys, which may hide a query's own position.
template <class... Policies>
inline constexpr bool can_bound_needs =
    can_bound_scores<Policies...> &&
    ((!has_key_terms<head_policy_of<Policies>> && !is_rotation<Policies> &&
      !masks_elements<head_policy_of<Policies>> && !selects_keys<Policies> &&
      !places_tokens<Policies>) &&
     ... && true);

/// The most that may be rounded off a score, relative to the products of its channels. In bfloat16,
/// queries may be rounded too.
inline double score_rounding(const options& opts) {
  return opts.arithmetic == arithmetic_type::bfloat16 ? 0x1p-7 : 1e-4;
}

/// Writes the largest norm of the rows of a piece, for each head, [piece][head].
template <executor Executor, class T>
void find_norms(const Executor& runner, std::vector<double>& result, const view<const T, 4>& rows,
                const std::vector<key_range>& pieces) {
  const index_t heads = rows.shape[1];
  runner.run(static_cast<index_t>(pieces.size()) * heads, [&](index_t item, index_t) {
    const auto piece = static_cast<std::size_t>(item / heads);
    const index_t first = first_row(pieces, piece), last = first + rows_of(pieces[piece]);
    double largest = 0.0;
    for (index_t batch = 0; batch < rows.shape[0]; ++batch) {
      for (index_t row = first; row < last; ++row) {
        double squares = 0.0;
        for (index_t c = 0; c < rows.shape[3]; ++c) {
          const auto value =
              static_cast<double>(static_cast<float>(rows(batch, item % heads, row, c)));
          squares += value * value;
        }
        // NaN and infinity leave nothing out.
        largest = std::isfinite(squares) ? std::max(largest, squares)
                                         : std::numeric_limits<double>::infinity();
      }
    }
    result[static_cast<std::size_t>(item)] = std::sqrt(largest);
  });
}

/// Writes the smallest score of a query and the key at its own position, less what may be rounded off,
/// for each piece of queries and head, [piece][head]. Keys have the same pieces.
template <executor Executor, class Query, class Key>
void find_own_scores(const Executor& runner, std::vector<double>& result,
                     const view<const Query, 4>& q, const view<const Key, 4>& k,
                     const std::vector<key_range>& pieces, double scale, double rounding) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const index_t heads = q.shape[1], group_size = heads / k.shape[1];
  runner.run(static_cast<index_t>(pieces.size()) * heads, [&](index_t item, index_t) {
    const auto piece = static_cast<std::size_t>(item / heads);
    const index_t head = item % heads;
    const index_t first = first_row(pieces, piece), last = first + rows_of(pieces[piece]);
    double least = infinity;
    for (index_t batch = 0; batch < q.shape[0]; ++batch) {
      for (index_t row = first; row < last; ++row) {
        double score = 0.0, magnitude = 0.0;
        for (index_t c = 0; c < q.shape[3]; ++c) {
          const double product =
              scale * static_cast<double>(static_cast<float>(q(batch, head, row, c))) *
              static_cast<double>(static_cast<float>(k(batch, head / group_size, row, c)));
          score += product;
          magnitude += std::abs(product);
        }
        const double bound = score - rounding * magnitude;
        least = std::isfinite(bound) ? std::min(least, bound) : -infinity;
      }
    }
    result[static_cast<std::size_t>(item)] = least;
  });
}

/// The sum of the biases of a key at the query's own position.
template <class... HeadPolicies>
double bias_at_itself(const std::tuple<HeadPolicies...>& of_head) {
  double sum = 0.0;
  [[maybe_unused]] const auto add = [&]<class HeadPolicy>(const HeadPolicy& policy) {
    if constexpr (computes_bias<HeadPolicy>) sum += static_cast<double>(policy.bias(0.0));
  };
  std::apply([&](const auto&... policy) { (add(policy), ...); }, of_head);
  return sum;
}

/// What the bound needs to know of the rows of all ranks.
struct row_norms {
  std::vector<double> queries{};     // [piece][head] of this rank
  std::vector<double> key_pieces{};  // [piece][key head] of this rank
  std::vector<double> keys{};        // [rank][piece][key head]
  std::vector<double> own_scores{};  // [piece][head] of this rank, if its queries see themselves
};

/// Leaves out of `needed` what the bound shows to have no weight. seen(rank, piece, i) are the keys
/// that masks show to piece i of this rank's queries.
template <class Seen, class... Policies>
void apply_bound(range_table& needed, const std::tuple<Policies...>& policies,
                 const attention_shape& shape, const options& opts, const group& ranks,
                 const row_norms& norms, const Seen& seen) {
  const auto& queries = ranks.queries().of(ranks.rank());
  constexpr double margin = 104.0;  // e^-103.98 is less than half of the least float32
  const auto scale = std::abs(static_cast<double>(score_scale(opts, policies, shape.head_dim)));
  const double rounding = score_rounding(opts);
  const auto softcap = static_cast<double>(opts.softcap);
  const auto largest_score = [&](double q_norm, double k_norm) {
    const double product = scale * q_norm * k_norm * (1.0 + rounding);
    if (!std::isfinite(product)) return product;
    return softcap > 0.0 ? std::min(product, softcap) : product;
  };
  const auto own_score = [&](double least) {
    return softcap > 0.0 ? softcap * (std::tanh(least / softcap) - rounding) : least;
  };
  const index_t group_size = shape.query_heads / shape.key_heads;
  const auto norm_at = [](const std::vector<double>& all, index_t i) {
    return all[static_cast<std::size_t>(i)];
  };
  for (int rank = 0; rank < ranks.size(); ++rank) {
    for (index_t piece = 0; piece < needed.pieces; ++piece) {
      for (index_t key_head = 0; key_head < shape.key_heads; ++key_head) {
        key_range& range = needed.at(rank, piece, key_head);
        const double k_norm =
            norm_at(norms.keys, (rank * needed.pieces + piece) * shape.key_heads + key_head);
        range = trim(range, [&](const key_range& block) {
          for (std::size_t i = 0; i < queries.size(); ++i) {
            const key_range keys = intersect(block, seen(rank, piece, i));
            if (is_empty(queries[i]) || is_empty(keys)) continue;
            const distance_range reach{keys.first - (queries[i].last - 1),
                                       keys.last - 1 - queries[i].first};
            for (index_t h = key_head * group_size; h < (key_head + 1) * group_size; ++h) {
              const index_t of_piece = static_cast<index_t>(i) * shape.query_heads + h;
              const double q_norm = norm_at(norms.queries, of_piece);
              const double own = own_score(norm_at(norms.own_scores, of_piece));
              for (index_t batch = 0; batch < shape.batch; ++batch) {
                const auto of_head = bind_all(policies, batch, h);
                const bias_bound far = largest_bias(of_head, {}, reach, 1.0f);
                const double temperature = softmax_temperature(policies, batch, h);
                const double above = largest_score(q_norm, k_norm) +
                                     static_cast<double>(far.largest) +
                                     1e-5 * static_cast<double>(far.magnitude);
                const double below = bias_at_itself(of_head) + own;
                if (!(above - below < -margin * temperature)) return true;
              }
            }
          }
          return false;
        });
      }
    }
  }
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
