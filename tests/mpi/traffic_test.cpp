// No more travels than the masks and the bound of a decaying bias show.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#include "mpi/spread_call.hpp"

namespace {

using relpos::causal;
using relpos::index_t;
using relpos::mpi::contiguous_shards;
using relpos::mpi::group;
using relpos::mpi::sequence_shards;
using relpos::mpi::zigzag_shards;

constexpr index_t head_dim = 8;
constexpr index_t row_bytes = 2 * head_dim * static_cast<index_t>(sizeof(float));

support::inputs<float> self_attention(index_t heads, index_t length, float spread = 3.0f) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = heads,
                                 .key_heads = heads,
                                 .query_length = length,
                                 .key_length = length,
                                 .head_dim = head_dim,
                                 .value_dim = head_dim},
                                3, spread);
}

/// The bytes that all ranks send.
double bytes_of_all(const relpos::mpi::traffic& own) {
  auto sum = static_cast<double>(own.bytes_sent);
  MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  return sum;
}

/// The rows of keys that must travel, for one head: each (rank, key) of another rank of which a
/// query of the rank has use, one by one.
template <class HasUse>
double rows_by_definition(const sequence_shards& shards, const HasUse& has_use) {
  double rows = 0.0;
  for (int owner = 0; owner < shards.ranks(); ++owner) {
    for (int rank = 0; rank < shards.ranks(); ++rank) {
      if (rank == owner) continue;
      for (const relpos::key_range& keys : shards.of(owner)) {
        for (index_t key = keys.first; key < keys.last; ++key) {
          bool used = false;
          for (const relpos::key_range& queries : shards.of(rank)) {
            for (index_t q = queries.first; q < queries.last && !used; ++q) used = has_use(q, key);
          }
          rows += used ? 1.0 : 0.0;
        }
      }
    }
  }
  return rows;
}

/// Expects no more than 5 % beside the rows that must travel, and no less.
template <class HasUse, class... Policies>
void expect_least(const sequence_shards& shards, index_t length, const HasUse& has_use,
                  const Policies&... policies) {
  const group ranks(MPI_COMM_WORLD, shards);
  const auto in = self_attention(2, length);
  const auto got = support::expect_spread(ranks, in, {}, policies...);
  const double least = 2.0 * static_cast<double>(row_bytes) * rows_by_definition(shards, has_use);
  const double sent = bytes_of_all(got.traffic);
  EXPECT_GE(sent, least);
  EXPECT_LE(sent, 1.05 * least);
}

TEST(mpi_traffic, of_masks_is_the_least) {
  const int ranks = support::ranks_of_world();
  constexpr index_t length = 448;
  for (const auto& shards : {contiguous_shards(length, ranks), zigzag_shards(length, ranks)}) {
    expect_least(shards, length, [](index_t q, index_t k) { return k <= q; }, causal{});
    expect_least(
        shards, length, [](index_t q, index_t k) { return k <= q && k > q - 20; },
        relpos::sliding_window{20});
    expect_least(
        shards, length,
        [](index_t q, index_t k) { return k <= q && k / 32 >= std::max(q / 32 - 1, index_t{0}); },
        relpos::blockwise_causal{32});
  }
}

TEST(mpi_traffic, of_a_window_is_planned_from_the_neighbour_alone) {
  const int ranks = support::ranks_of_world();
  const group spread(MPI_COMM_WORLD, contiguous_shards(448, ranks));
  support::tensor<float> out({1, 2, spread.queries().rows(spread.rank()), head_dim});
  const support::tensor<float> rows(out.shape);
  const auto call = relpos::mpi::prepare(relpos::serial(), spread, out.view(), rows.view(),
                                         rows.view(), rows.view(), relpos::sliding_window{20});
  EXPECT_TRUE(call.valid());
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_EQ(call.rows_needed_of(rank), rank + 1 == spread.rank() ? 19 : 0) << "of rank " << rank;
  }
}

TEST(mpi_traffic, of_selected_keys_is_from_the_first_to_the_last_of_a_rank) {
  const int size = support::ranks_of_world();
  constexpr index_t length = 448;
  // A query selects 20 keys that end 20 before it.
  support::tensor<std::int32_t> lists({1, 1, length, 20}, -1);
  for (index_t q = 20; q < length; ++q) {
    for (index_t i = 0; i < std::min(q - 19, index_t{20}); ++i) {
      lists(0, 0, q, i) = static_cast<std::int32_t>(std::max(q - 39, index_t{0}) + i);
    }
  }
  const auto policy_of = [](const support::tensor<std::int32_t>& of) {
    return relpos::selected_keys{relpos::view<const std::int32_t, 4>(of.view())};
  };
  for (const auto& shards : {contiguous_shards(length, size), zigzag_shards(length, size)}) {
    const group ranks(MPI_COMM_WORLD, shards);
    const auto own_lists = support::own(lists, ranks);
    const auto got =
        support::expect_spread_of(ranks, self_attention(2, length), {},
                                  std::tuple(policy_of(lists)), std::tuple(policy_of(own_lists)));
    const double least =
        rows_by_definition(shards, [](index_t q, index_t k) { return q - 40 < k && k <= q - 20; });
    EXPECT_EQ(bytes_of_all(got.traffic), 2.0 * static_cast<double>(row_bytes) * least);
  }
}

TEST(mpi_traffic, of_one_rank_is_none) {
  if (support::ranks_of_world() != 1) GTEST_SKIP() << "needs one rank";
  const group ranks(MPI_COMM_WORLD, contiguous_shards(50, 1));
  EXPECT_EQ(support::expect_spread(ranks, self_attention(2, 50), {}, causal{}).traffic.bytes_sent,
            0u);
}

TEST(mpi_traffic, of_steep_slopes_ends_where_weights_are_zero) {
  const int ranks = support::ranks_of_world();
  constexpr index_t length = 2240;
  const auto shards = contiguous_shards(length, ranks);
  const group spread(MPI_COMM_WORLD, shards);
  const auto in = self_attention(2, length);
  // Weights of the first head end at a distance of about 200, of the second nowhere.
  const std::vector<float> slopes{1.0f, 1e-4f};
  const auto got = support::expect_spread(spread, in, {}, relpos::alibi{slopes}, causal{});
  const double of_causal = rows_by_definition(shards, [](index_t q, index_t k) { return k <= q; });
  const double within_reach =
      rows_by_definition(shards, [](index_t q, index_t k) { return k <= q && k > q - 320; });
  const double sent = bytes_of_all(got.traffic) / static_cast<double>(row_bytes);
  EXPECT_GE(sent, of_causal);
  EXPECT_LE(sent, of_causal + within_reach);
}

/// The rank whose shard has a position.
int rank_of(const sequence_shards& shards, index_t position) {
  int result = 0;
  for (int rank = 0; rank < shards.ranks(); ++rank) {
    for (const relpos::key_range& piece : shards.of(rank)) {
      if (piece.first <= position && position < piece.last) result = rank;
    }
  }
  return result;
}

/// The rows of keys that must travel under ALiBi and a causal mask, over all heads: each
/// (rank, head, key) of another rank whose weight is above zero in float32 for a query of the rank.
double rows_with_weight(const sequence_shards& shards, const support::inputs<float>& in,
                        const std::vector<float>& slopes,
                        double scale = 1.0 / std::sqrt(static_cast<double>(head_dim))) {
  const index_t heads = in.q.shape[1], length = in.q.shape[2];
  double rows = 0.0;
  for (index_t head = 0; head < heads; ++head) {
    std::vector<std::vector<bool>> has_weight(static_cast<std::size_t>(shards.ranks()),
                                              std::vector<bool>(static_cast<std::size_t>(length)));
    for (index_t q = 0; q < length; ++q) {
      std::vector<double> logits;
      for (index_t key = 0; key <= q; ++key) {
        double product = 0.0;
        for (index_t c = 0; c < head_dim; ++c) {
          product +=
              static_cast<double>(in.q(0, head, q, c)) * static_cast<double>(in.k(0, head, key, c));
        }
        logits.push_back(scale * product +
                         static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
                             static_cast<double>(key - q));
      }
      const double largest = *std::max_element(logits.begin(), logits.end());
      auto& seen = has_weight[static_cast<std::size_t>(rank_of(shards, q))];
      for (std::size_t key = 0; key < logits.size(); ++key) {
        if (std::exp(static_cast<float>(logits[key] - largest)) > 0.0f) seen[key] = true;
      }
    }
    for (int rank = 0; rank < shards.ranks(); ++rank) {
      for (index_t key = 0; key < length; ++key) {
        const bool travels =
            rank_of(shards, key) != rank &&
            has_weight[static_cast<std::size_t>(rank)][static_cast<std::size_t>(key)];
        rows += travels ? 1.0 : 0.0;
      }
    }
  }
  return rows;
}

TEST(mpi_traffic, of_standard_slopes_is_the_least) {
  const int ranks = support::ranks_of_world();
  constexpr index_t heads = 8, length = 2240;
  const std::vector<float> slopes = relpos::alibi_slopes(heads);
  const auto in = self_attention(heads, length);
  for (const auto& shards : {contiguous_shards(length, ranks), zigzag_shards(length, ranks)}) {
    const auto got = support::attend_spread(group(MPI_COMM_WORLD, shards), in, {},
                                            relpos::alibi{slopes}, causal{});
    EXPECT_TRUE(got.status) << got.status.message;
    const double least = static_cast<double>(row_bytes) * rows_with_weight(shards, in, slopes);
    const double sent = bytes_of_all(got.traffic);
    EXPECT_GE(sent, least);
    EXPECT_LE(sent, 1.05 * least);
  }
}

// Scores with the keys at the queries' own positions are far below zero, scores with the keys of rank
// 0 are zero: these keys have weight.
TEST(mpi_traffic, of_far_keys_is_sent_beside_low_scores_of_near_ones) {
  constexpr index_t length = 1792;
  const auto shards = contiguous_shards(length, support::ranks_of_world());
  const group spread(MPI_COMM_WORLD, shards);
  const std::vector<float> slopes{0.25f};
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  for (const float sign : {1.0f, -1.0f}) {
    auto in = self_attention(1, length);
    std::fill(in.q.values.begin(), in.q.values.end(), 1.0f);
    std::fill(in.k.values.begin(), in.k.values.end(), -45.0f * sign);
    std::fill_n(in.k.values.begin(), shards.rows(0) * head_dim, 0.0f);
    const auto got = support::attend_spread(spread, in, {.scale = scale * sign},
                                            relpos::alibi{slopes}, causal{});
    EXPECT_TRUE(got.status) << got.status.message;
    const double least = static_cast<double>(row_bytes) *
                         rows_with_weight(shards, in, slopes, static_cast<double>(scale * sign));
    EXPECT_GE(bytes_of_all(got.traffic), least);
  }
}

TEST(mpi_traffic, of_a_far_key_with_a_large_score_is_sent) {
  constexpr index_t length = 1792;
  const group spread(MPI_COMM_WORLD, contiguous_shards(length, support::ranks_of_world()));
  auto in = self_attention(1, length, 0.1f);
  std::fill(in.q.values.begin(), in.q.values.end(), 1.0f);
  for (index_t c = 0; c < head_dim; ++c) in.k(0, 0, 0, c) = 25.0f;
  const double score = 25.0 * std::sqrt(static_cast<double>(head_dim));
  const auto q = support::rows_of_rank(in.q, spread.queries(), spread.rank());
  const auto k = support::rows_of_rank(in.k, spread.keys(), spread.rank());
  support::tensor<float> out(q.shape);
  const std::vector<float> slopes{0.25f};
  auto call = relpos::mpi::prepare(relpos::serial(), spread, out.view(), q.view(), k.view(),
                                   k.view(), relpos::alibi{slopes}, causal{});
  EXPECT_TRUE(call.run(relpos::serial()));
  const index_t first_query = spread.queries().of(spread.rank()).front().first;
  if (spread.rank() > 0 && score - 0.25 * static_cast<double>(first_query) > -103.0) {
    EXPECT_EQ(call.rows_needed_of(0), spread.keys().rows(0));
  }
}

TEST(mpi_traffic, of_steep_slopes_and_small_scores_changes_no_result) {
  constexpr index_t length = 2240;
  const group spread(MPI_COMM_WORLD, contiguous_shards(length, support::ranks_of_world()));
  const std::vector<float> slopes{0.02f, 0.5f};
  support::expect_spread(spread, self_attention(2, length, 0.01f), {}, relpos::alibi{slopes},
                         causal{});
}

TEST(mpi_traffic, of_steep_slopes_in_zigzag_shards_ends_too) {
  const int ranks = support::ranks_of_world();
  constexpr index_t length = 2240;
  const auto shards = zigzag_shards(length, ranks);
  const group spread(MPI_COMM_WORLD, shards);
  const auto in = support::random_inputs({.batch = 2,
                                          .query_heads = 4,
                                          .key_heads = 2,
                                          .query_length = length,
                                          .key_length = length,
                                          .head_dim = head_dim,
                                          .value_dim = head_dim},
                                         5, 0.5f);
  // Two query heads share a key head: the gentler slope decides, over the temperature.
  const std::vector<float> slopes{2.0f, 1.0f, 8.0f, 4.0f};
  const std::vector<float> temperatures{1.0f, 2.0f, 1.0f, 1.0f};
  const auto got = support::expect_spread(spread, in, {.softcap = 5.0f}, relpos::alibi{slopes},
                                          relpos::head_temperature{temperatures}, causal{});
  const double within_reach =
      rows_by_definition(shards, [](index_t q, index_t k) { return k <= q && k > q - 512; });
  EXPECT_LE(bytes_of_all(got.traffic), 2.0 * 2.0 * static_cast<double>(row_bytes) * within_reach);
}

TEST(mpi_traffic, follows_the_numbers_of_each_run) {
  constexpr index_t length = 1792;
  const group spread(MPI_COMM_WORLD, contiguous_shards(length, support::ranks_of_world()));
  auto q = support::rows_of_rank(self_attention(2, length).q, spread.queries(), spread.rank());
  const auto k = support::rows_of_rank(self_attention(2, length).k, spread.keys(), spread.rank());
  support::tensor<float> out(q.shape), again(q.shape);
  const std::vector<float> slopes{2.0f, 1.0f};
  const auto prepare = [&](support::tensor<float>& to) {
    return relpos::mpi::prepare(relpos::serial(), spread, to.view(), q.view(), k.view(), k.view(),
                                relpos::alibi{slopes}, causal{});
  };
  auto call = prepare(out);
  relpos::mpi::traffic few, many;
  EXPECT_TRUE(call.run(relpos::serial(), &few));
  for (float& each : q.values) each *= 100.0f;
  EXPECT_TRUE(call.run(relpos::serial(), &many));
  EXPECT_GE(many.bytes_sent, few.bytes_sent);
  EXPECT_TRUE(prepare(again).run(relpos::serial()));
  EXPECT_EQ(out.values, again.values);
}

TEST(mpi_traffic, with_moments_of_logits_leaves_out_nothing) {
  const int ranks = support::ranks_of_world();
  constexpr index_t length = 896;
  const auto shards = contiguous_shards(length, ranks);
  const group spread(MPI_COMM_WORLD, shards);
  support::tensor<float, 3> counts({1, 2, shards.rows(spread.rank())});
  const std::vector<float> slopes{1.0f, 1.0f};
  const auto got = support::attend_spread(spread, self_attention(2, length),
                                          {.statistics = {.logit_count = counts.view()}},
                                          relpos::alibi{slopes}, causal{});
  EXPECT_TRUE(got.status) << got.status.message;
  const double of_causal = rows_by_definition(shards, [](index_t q, index_t k) { return k <= q; });
  EXPECT_EQ(bytes_of_all(got.traffic), 2.0 * static_cast<double>(row_bytes) * of_causal);
  index_t row = 0;
  for (const relpos::key_range& piece : shards.of(spread.rank())) {
    for (index_t q = piece.first; q < piece.last; ++q, ++row) {
      EXPECT_EQ(counts(0, 0, row), static_cast<float>(q + 1));
    }
  }
}

}  // namespace
