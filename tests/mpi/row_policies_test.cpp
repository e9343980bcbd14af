// Policies that read rows, or the number of visible keys: a rank has some rows and some keys only.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "mpi/spread_call.hpp"
#include "support/factors_of_rows.hpp"

namespace {

using relpos::causal;
using relpos::index_t;
using relpos::kernel_class;
using relpos::key_tables;
using relpos::query_tables;
using relpos::selected_keys;
using relpos::mpi::contiguous_shards;
using relpos::mpi::group;
using relpos::mpi::sequence_shards;
using relpos::mpi::zigzag_shards;
using support::expect_each_spread;
using support::expect_spread_of;
using support::factors_of_rows;
using support::for_each_spread;
using support::inputs;
using support::own;
using support::random_tensor;
using support::self_attention;

constexpr kernel_class kernels[] = {kernel_class::prefill, kernel_class::decode};

/// The buckets of distances from -9 to 10.
const std::vector<std::int32_t> buckets{5, 0, 3, 1, 4, 2, 5, 5, 1, 0, 3, 2, 4, 0, 1, 5, 2, 3, 3, 4};

TEST(mpi_row_policies, of_tables_of_queries_and_keys) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    const inputs<float> in = self_attention(length, 31);
    const auto of_queries = random_tensor({2, 4, length, 6}, 32, 3.0f);
    const auto of_keys = random_tensor({2, 4, length, 6}, 33, 3.0f);
    const auto of_own_queries = own(of_queries, ranks);
    const key_tables of_all_keys(of_keys.view(), buckets, -9);
    for (const kernel_class kernel : kernels) {
      expect_spread_of(ranks, in, {.kernel = kernel},
                       std::tuple(query_tables(of_queries.view(), buckets, -9), of_all_keys),
                       std::tuple(query_tables(of_own_queries.view(), buckets, -9), of_all_keys));
      expect_spread_of(ranks, in, {.kernel = kernel},
                       std::tuple(causal{}, query_tables(of_queries.view(), buckets, -9)),
                       std::tuple(causal{}, query_tables(of_own_queries.view(), buckets, -9)));
    }
  });
}

TEST(mpi_row_policies, of_tables_of_keys_that_begin_later) {
  constexpr index_t first = 50, length = 101;
  const int size = support::ranks_of_world();
  const group ranks(MPI_COMM_WORLD, zigzag_shards(length, size, first),
                    contiguous_shards(length, size, first));
  const auto of_queries = random_tensor({2, 4, length, 6}, 34);
  const auto of_own_queries = own(of_queries, ranks);
  const auto of_keys = random_tensor({2, 4, first + length, 6}, 35);  // of all positions
  const relpos::view<const float, 4> of_positions = of_keys.view();
  expect_spread_of(ranks, self_attention(length, 36), {},
                   std::tuple(query_tables(of_queries.view(), buckets, -9),
                              key_tables(of_positions.slice(2, first, length), buckets, -9)),
                   std::tuple(query_tables(of_own_queries.view(), buckets, -9),
                              key_tables(of_positions, buckets, -9)));
}

/// Lists of each entry of the batch, head and query over positions [first, last): ascending, in
/// part empty.
support::tensor<std::int32_t> random_lists(index_t heads, index_t queries, index_t first,
                                           index_t last, index_t block, std::uint32_t seed) {
  constexpr index_t entries = 24;
  support::tensor<std::int32_t> result({2, heads, queries, entries}, -1);
  support::random_numbers random(seed);
  for (index_t list = 0; list < 2 * heads * queries; ++list) {
    std::vector<std::int32_t> chosen;
    const index_t count = list % 7 == 3 ? 0 : random.between(1, entries);
    for (index_t i = 0; i < count; ++i) {
      chosen.push_back(
          static_cast<std::int32_t>(random.between(first / block, (last - 1) / block)));
    }
    std::sort(chosen.begin(), chosen.end());
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    std::copy(chosen.begin(), chosen.end(), result.values.begin() + list * entries);
  }
  return result;
}

selected_keys policy_of(const support::tensor<std::int32_t>& lists, index_t block) {
  return {relpos::view<const std::int32_t, 4>(lists.view()), block};
}

TEST(mpi_row_policies, of_selected_keys) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    const inputs<float> in = self_attention(length, 41);
    for (const index_t heads : {1, 2}) {
      for (const index_t block : {1, 5}) {
        const auto lists = random_lists(heads, length, 0, length, block, 42);
        const auto own_lists = own(lists, ranks);
        for (const kernel_class kernel : kernels) {
          expect_spread_of(ranks, in, {.kernel = kernel}, std::tuple(policy_of(lists, block)),
                           std::tuple(policy_of(own_lists, block)));
          expect_spread_of(ranks, in, {.kernel = kernel},
                           std::tuple(policy_of(lists, block), causal{}),
                           std::tuple(policy_of(own_lists, block), causal{}));
        }
      }
    }
  });
}

TEST(mpi_row_policies, of_selected_keys_that_begin_later_beside_a_rotation) {
  constexpr index_t first = 1000, length = 120;
  const int size = support::ranks_of_world();
  sequence_shards on_last;  // pieces that are not in order
  on_last.pieces.resize(static_cast<std::size_t>(size));
  on_last.pieces.back() = {{1070, 1120}, {1000, 1030}, {1030, 1070}};
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
  const auto lists = random_lists(2, length, first, first + length, 1, 43);
  for (const sequence_shards& keys : {on_last, contiguous_shards(length, size, first)}) {
    const group ranks(MPI_COMM_WORLD, zigzag_shards(length, size, first), keys);
    const auto own_lists = own(lists, ranks);
    expect_spread_of(
        ranks, self_attention(length, 44), {},
        std::tuple(relpos::rotary{rope}, policy_of(lists, 1), relpos::sliding_window{100}),
        std::tuple(relpos::rotary{rope}, policy_of(own_lists, 1), relpos::sliding_window{100}));
  }
}

/// Every query selects far keys alone: their weights are not zero, however steep the slopes.
TEST(mpi_row_policies, of_selected_keys_that_are_far_under_steep_slopes) {
  constexpr index_t length = 1200;
  const group ranks(MPI_COMM_WORLD, contiguous_shards(length, support::ranks_of_world()));
  support::tensor<std::int32_t> lists({2, 1, length, 8});
  for (std::size_t i = 0; i < lists.values.size(); ++i) {
    lists.values[i] = static_cast<std::int32_t>(i % 8);
  }
  const auto own_lists = own(lists, ranks);
  const std::vector<float> slopes{1.0f, 0.5f, 2.0f, 1.0f};
  expect_spread_of(ranks, self_attention(length, 45), {},
                   std::tuple(policy_of(lists, 1), relpos::alibi{slopes}, causal{}),
                   std::tuple(policy_of(own_lists, 1), relpos::alibi{slopes}, causal{}));
}

TEST(mpi_row_policies, of_logit_scaling_by_the_number_of_visible_keys) {
  const std::vector<float> scales{0.43f, 0.1f, -0.2f, 0.7f};
  const std::vector<float> slopes{0.5f, 0.25f, 0.1f, 0.01f};
  const std::vector<index_t> padding{3, 0};
  for (const kernel_class kernel : kernels) {
    const relpos::options opts{.kernel = kernel};
    expect_each_spread(opts, relpos::log_n{2});
    expect_each_spread(opts, causal{}, relpos::log_n{4}, relpos::alibi{slopes});
    expect_each_spread(opts, relpos::ssmax{scales}, relpos::sliding_window{20});
    expect_each_spread(opts, relpos::left_padding{padding, causal{}}, relpos::ssmax{scales});
  }
}

/// A window of each head.
struct windows_of_heads {
  struct of_head {
    index_t size;
    relpos::key_range visible_keys(index_t q_pos) const { return {q_pos - size + 1, q_pos + 1}; }
  };
  of_head bind(index_t head) const { return {4 + 9 * head}; }
};

TEST(mpi_row_policies, of_logit_scaling_by_what_each_head_sees) {
  expect_each_spread({}, windows_of_heads{}, relpos::log_n{2});
}

TEST(mpi_row_policies, of_logit_scaling_by_a_count_beside_positions_of_tokens) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    support::tensor<index_t> all({1, 1, length, 1});
    for (index_t i = 0; i < length; ++i) all(0, 0, i, 0) = (3 * i) % 40;
    const auto own_positions = own(all, ranks);
    const auto positions = [](const support::tensor<index_t>& rows) {
      return relpos::view<const index_t, 2>(rows.values.data(), {1, rows.shape[2]});
    };
    const std::vector<float> slopes{0.5f, 0.25f, 0.1f, 0.01f};
    const relpos::token_positions whole{positions(all), positions(all)};
    const relpos::token_positions of_rank{positions(own_positions), positions(all)};
    expect_spread_of(ranks, self_attention(length, 46), {},
                     std::tuple(whole, relpos::alibi{slopes}, relpos::log_n{2}, causal{}),
                     std::tuple(of_rank, relpos::alibi{slopes}, relpos::log_n{2}, causal{}));
  });
}

TEST(mpi_row_policies, of_logit_scaling_by_the_row) {
  for_each_spread([](index_t length, const sequence_shards& shards) {
    const group ranks(MPI_COMM_WORLD, shards);
    const auto factors = random_tensor({1, 1, length, 1}, 47, 2.0f);
    const auto own_factors = own(factors, ranks);
    for (const kernel_class kernel : kernels) {
      expect_spread_of(ranks, self_attention(length, 48), {.kernel = kernel},
                       std::tuple(factors_of_rows{factors.view()}, causal{}),
                       std::tuple(factors_of_rows{own_factors.view()}, causal{}));
    }
  });
}

}  // namespace
