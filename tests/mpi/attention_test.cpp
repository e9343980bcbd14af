// Attention over rows that are spread on ranks equals attention over the whole sequence.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>
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
using support::expect_each_spread;
using support::expect_spread;
using support::for_each_spread;
using support::inputs;
using support::own;
using support::random_inputs;
using support::self_attention;

TEST(mpi_attention, without_policies) { expect_each_spread({}); }

TEST(mpi_attention, of_masks) {
  expect_each_spread({}, causal{});
  expect_each_spread({}, relpos::sliding_window{20});
  expect_each_spread({}, relpos::blockwise_causal{16});
  expect_each_spread({}, relpos::either{relpos::sliding_window{20}, relpos::sinks{3}}, causal{});
  const std::vector<index_t> padding{3, 0};
  expect_each_spread({}, relpos::left_padding{padding}, causal{});
  for_each_spread([](index_t length, const sequence_shards& shards) {
    std::vector<index_t> first(static_cast<std::size_t>(length), 0), last;
    for (index_t i = 0; i < length; ++i) last.push_back(std::min(i / 7 * 7 + 7, length));
    const auto list = [&](const std::vector<index_t>& numbers) {
      return relpos::view<const index_t, 2>(numbers.data(), {1, length});
    };
    expect_spread(group(MPI_COMM_WORLD, shards), self_attention(length, 25), {},
                  relpos::key_ranges{list(first), list(last)});
  });
}

TEST(mpi_attention, of_encodings) {
  const std::vector<float> slopes{0.5f, 0.25f, 0.1f, 0.01f};
  expect_each_spread({}, relpos::alibi{slopes}, causal{});
  const std::vector<float> table = support::random_tensor({1, 1, 32, 4}, 9).values;
  expect_each_spread({}, relpos::t5_bias{table, relpos::bidirectional});
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
  expect_each_spread({}, relpos::rotary{rope}, causal{});
  const relpos::rotary_table xpos(relpos::xpos_frequencies(8), relpos::pair_layout::interleaved);
  expect_each_spread({}, causal{}, relpos::rotary{xpos});
}

TEST(mpi_attention, of_sinks_and_temperatures) {
  const std::vector<float> sinks{0.5f, -2.0f, 3.0f, 0.0f};
  const std::vector<float> temperatures{0.5f, 1.0f, 2.0f, 0.8f};
  expect_each_spread({.softcap = 2.0f}, relpos::sink_logits{sinks}, causal{});
  expect_each_spread({.scale = 0.2f}, relpos::head_temperature{temperatures});
}

TEST(mpi_attention, of_data_with_a_number_for_each_row) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    const inputs<float> in = self_attention(length, 12);
    const auto matrix = support::random_tensor({2, 4, length, length}, 13);
    const auto own_matrix = own(matrix, ranks);
    support::expect_spread_of(ranks, in, {}, std::tuple(relpos::additive_bias{matrix.view()}),
                              std::tuple(relpos::additive_bias{own_matrix.view()}));

    const auto coefficients = support::random_tensor({2, 4, length, 3}, 14);
    const auto own_coefficients = own(coefficients, ranks);
    const auto tables = support::random_tensor({1, 1, 3, 21}, 15);
    const relpos::view<const float, 3> table(tables.values.data(), {1, 3, 21});
    support::expect_spread_of(ranks, in, {},
                              std::tuple(relpos::mixed_bias(coefficients.view(), table, -10)),
                              std::tuple(relpos::mixed_bias(own_coefficients.view(), table, -10)));

    const auto rows = support::random_tensor({2, 4, length, 1}, 16);
    const auto own_rows = own(rows, ranks);
    const auto of_rows = [](const support::tensor<float>& from) {
      return relpos::view<const float, 3>(from.values.data(),
                                          {from.shape[0], from.shape[1], from.shape[2]});
    };
    support::expect_spread_of(ranks, in, {},
                              std::tuple(relpos::row_sink_logits{of_rows(rows)}, causal{}),
                              std::tuple(relpos::row_sink_logits{of_rows(own_rows)}, causal{}));
    const auto numbers = support::random_tensor({2, 4, length, 1}, 17);
    const relpos::key_bias bias{of_rows(numbers)};
    expect_spread(ranks, in, {}, bias, causal{});
  });
}

TEST(mpi_attention, of_positions_of_tokens) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    const inputs<float> in = self_attention(length, 18);
    std::vector<index_t> all, own_rows;  // two documents, the second from position 5 on
    for (index_t i = 0; i < length; ++i) all.push_back(i < length / 3 ? i : i - length / 3 + 5);
    for (const relpos::key_range& piece : shards.of(ranks.rank())) {
      own_rows.insert(own_rows.end(), all.begin() + piece.first, all.begin() + piece.last);
    }
    const auto positions = [](const std::vector<index_t>& rows) {
      return relpos::view<const index_t, 2>(rows.data(), {1, static_cast<index_t>(rows.size())});
    };
    const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
    const relpos::rotary rotation{rope};
    support::expect_spread_of(
        ranks, in, {},
        std::tuple(rotation, relpos::token_positions{positions(all), positions(all)}, causal{}),
        std::tuple(rotation, relpos::token_positions{positions(own_rows), positions(all)},
                   causal{}));
  });
}

TEST(mpi_attention, of_queries_and_keys_that_are_cut_in_two_ways) {
  const int ranks = support::ranks_of_world();
  const inputs<float> in = random_inputs({.batch = 1,
                                          .query_heads = 2,
                                          .key_heads = 1,
                                          .query_length = 90,
                                          .key_length = 200,
                                          .head_dim = 8,
                                          .value_dim = 8},
                                         4);
  expect_spread(group(MPI_COMM_WORLD, zigzag_shards(90, ranks), contiguous_shards(200, ranks)), in,
                {});
  // All rows on the last rank, and pieces that are not in order.
  sequence_shards on_last;
  on_last.pieces.resize(static_cast<std::size_t>(ranks));
  on_last.pieces.back() = {{150, 200}, {0, 100}, {100, 150}};
  expect_spread(group(MPI_COMM_WORLD, contiguous_shards(90, ranks), on_last), in, {}, causal{});
}

TEST(mpi_attention, of_a_rank_without_keys_under_a_rotation) {
  const int ranks = support::ranks_of_world();
  sequence_shards on_last;
  on_last.pieces.resize(static_cast<std::size_t>(ranks));
  on_last.pieces.back() = {{0, 200}};
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
  expect_spread(group(MPI_COMM_WORLD, contiguous_shards(200, ranks), on_last),
                self_attention(200, 19), {}, relpos::rotary{rope}, causal{});
}

TEST(mpi_attention, of_positions_that_begin_later) {
  const int ranks = support::ranks_of_world();
  const std::vector<float> slopes{0.5f, 0.25f, 0.1f, 0.01f};
  expect_spread(group(MPI_COMM_WORLD, contiguous_shards(101, ranks, 1000)), self_attention(101, 20),
                {}, relpos::alibi{slopes}, causal{});
}

TEST(mpi_attention, on_threads) {
  const auto loop = [](index_t count, const auto& run_item) {
    std::vector<std::thread> others;
    for (index_t i = 1; i < count; ++i) others.emplace_back([&run_item, i] { run_item(i); });
    if (count > 0) run_item(0);
    for (std::thread& each : others) each.join();
  };
  const group ranks(MPI_COMM_WORLD, zigzag_shards(300, support::ranks_of_world()));
  const inputs<float> in = self_attention(300, 21);
  const auto q = own(in.q, ranks), k = own(in.k, ranks), v = own(in.v, ranks);
  support::tensor<float> alone({q.shape[0], q.shape[1], q.shape[2], v.shape[3]},
                               support::not_a_number);
  auto together = alone;
  const auto run = [&](const auto& runner, support::tensor<float>& out) {
    return relpos::mpi::attention(runner, ranks, out.view(), q.view(), k.view(), v.view(),
                                  causal{});
  };
  EXPECT_TRUE(run(relpos::serial(), alone));
  EXPECT_TRUE(run(relpos::on_loop(loop, 3), together));
  EXPECT_EQ(
      std::memcmp(alone.values.data(), together.values.data(), alone.values.size() * sizeof(float)),
      0);
}

TEST(mpi_attention, of_channels_that_are_apart) {
  const group ranks(MPI_COMM_WORLD, zigzag_shards(90, support::ranks_of_world()));
  const inputs<float> in = self_attention(90, 22);
  const auto q = own(in.q, ranks), k = own(in.k, ranks), v = own(in.v, ranks);
  const auto apart = [](const support::tensor<float>& from) {  // [batch, head, channel, row]
    const auto [batch, heads, rows, channels] = from.shape;
    support::tensor<float> to({batch, heads, channels, rows});
    for (index_t b = 0; b < batch; ++b) {
      for (index_t h = 0; h < heads; ++h) {
        for (index_t i = 0; i < rows; ++i) {
          for (index_t c = 0; c < channels; ++c) to(b, h, c, i) = from(b, h, i, c);
        }
      }
    }
    return to;
  };
  const auto turned = [](const support::tensor<float>& of) {
    const auto& s = of.shape;
    return relpos::view<const float, 4>(of.values.data(), {s[0], s[1], s[3], s[2]},
                                        {s[1] * s[2] * s[3], s[2] * s[3], 1, s[3]});
  };
  const auto k_apart = apart(k), v_apart = apart(v);
  support::tensor<float> expected({q.shape[0], q.shape[1], q.shape[2], v.shape[3]},
                                  support::not_a_number);
  auto got = expected;
  EXPECT_TRUE(relpos::mpi::attention(relpos::serial(), ranks, expected.view(), q.view(), k.view(),
                                     v.view(), causal{}));
  EXPECT_TRUE(relpos::mpi::attention(relpos::serial(), ranks, got.view(), q.view(), turned(k_apart),
                                     turned(v_apart), causal{}));
  EXPECT_EQ(
      std::memcmp(expected.values.data(), got.values.data(), got.values.size() * sizeof(float)), 0);
}

TEST(mpi_attention, of_sixteen_bits) {
  const int ranks = support::ranks_of_world();
  const inputs<float> numbers = self_attention(150, 5);
  const auto halves = [](const support::tensor<float>& from) {
    support::tensor<relpos::half> result(from.shape);
    for (std::size_t i = 0; i < from.values.size(); ++i) {
      result.values[i] = relpos::half(from.values[i]);
    }
    return result;
  };
  const inputs<relpos::half> in{halves(numbers.q), halves(numbers.k), halves(numbers.v)};
  expect_spread<relpos::half>(group(MPI_COMM_WORLD, zigzag_shards(150, ranks)), in, {}, causal{});
}

TEST(mpi_attention, of_large_messages_in_parts) {
  const group ranks(MPI_COMM_WORLD, zigzag_shards(150, support::ranks_of_world()), 100);
  expect_spread(ranks, self_attention(150, 6), {}, causal{});
}

TEST(mpi_attention, with_statistics) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    const inputs<float> in = self_attention(length, 7);
    const std::array<index_t, 3> shape{2, 4, shards.rows(ranks.rank())};
    std::vector<support::tensor<float, 3>> got(5, support::tensor<float, 3>(shape, 7.0f));
    const relpos::options opts{.statistics = {.max_probability = got[0].view(),
                                              .entropy = got[1].view(),
                                              .logit_count = got[2].view(),
                                              .logit_mean = got[3].view(),
                                              .logit_variance = got[4].view()}};
    const relpos::status done = support::attend_spread(ranks, in, opts, causal{}).status;
    ASSERT_TRUE(done) << done.message;

    std::vector<support::tensor<float, 3>> whole(5, support::tensor<float, 3>({2, 4, length}));
    support::tensor<double> out({2, 4, length, 5});
    ASSERT_TRUE(relpos::reference_attention<double>(
        out.view(), std::nullopt, in.q.view(), in.k.view(), in.v.view(), causal{},
        relpos::options{.statistics = {.max_probability = whole[0].view(),
                                       .entropy = whole[1].view(),
                                       .logit_count = whole[2].view(),
                                       .logit_mean = whole[3].view(),
                                       .logit_variance = whole[4].view()},
                        .query_offset = 0}));
    for (std::size_t i = 0; i < got.size(); ++i) {
      support::tensor<double, 3> exact({2, 4, length});
      exact.values.assign(whole[i].values.begin(), whole[i].values.end());
      support::expect_close(
          got[i].values,
          support::rows_of_rank(support::with_channel(exact), shards, ranks.rank()).values, 2e-5,
          "statistics");
    }
  });
}

TEST(mpi_attention, over_heads_and_rows_at_once) {
  const int ranks = support::ranks_of_world();
  if (ranks % 2 != 0) GTEST_SKIP() << "needs an even number of ranks";
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const index_t half = rank % 2;  // of the heads
  MPI_Comm rows = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, static_cast<int>(half), rank, &rows);
  {
    const group along_rows(rows, zigzag_shards(100, ranks / 2));
    const inputs<float> all = self_attention(100, 8);
    const auto heads = [&](const support::tensor<float>& from, index_t count) {
      support::tensor<float> result({from.shape[0], count, from.shape[2], from.shape[3]});
      for (index_t b = 0; b < from.shape[0]; ++b) {
        for (index_t h = 0; h < count; ++h) {
          for (index_t i = 0; i < from.shape[2]; ++i) {
            for (index_t c = 0; c < from.shape[3]; ++c) {
              result(b, h, i, c) = from(b, half * count + h, i, c);
            }
          }
        }
      }
      return result;
    };
    const std::vector<float> slopes = relpos::alibi_slopes(relpos::head_shard{2 * half, 2, 4});
    expect_spread(along_rows, inputs<float>{heads(all.q, 2), heads(all.k, 1), heads(all.v, 1)}, {},
                  relpos::alibi{slopes}, causal{});
  }
  MPI_Comm_free(&rows);
}

}  // namespace
