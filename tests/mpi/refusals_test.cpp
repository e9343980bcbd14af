// A call that does not fit on one rank, or differs between ranks, is refused on all of them alike.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "mpi/spread_call.hpp"

namespace {

using relpos::causal;
using relpos::index_t;
using relpos::mpi::contiguous_shards;
using relpos::mpi::group;
using support::tensor;

constexpr index_t length = 40;

/// Expects the same message on all ranks, with `text` in it, and untouched outputs.
void expect_refused(const support::spread_result<float>& got, const char* text) {
  ASSERT_FALSE(got.status);
  EXPECT_NE(std::string(got.status.message).find(text), std::string::npos) << got.status.message;
  for (const float each : got.out.values) ASSERT_TRUE(std::isnan(each));
  char first[relpos::status::message_capacity];
  std::memcpy(first, got.status.message, sizeof first);
  MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD);
  EXPECT_STREQ(got.status.message, first);
}

support::inputs<float> inputs_of(index_t batch, index_t head_dim, index_t rows = length) {
  return support::random_inputs({.batch = batch,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = rows,
                                 .key_length = rows,
                                 .head_dim = head_dim,
                                 .value_dim = 4},
                                1);
}

class mpi_refusals : public testing::Test {
 protected:
  const group ranks{MPI_COMM_WORLD, contiguous_shards(length, support::ranks_of_world())};
  bool is_last = ranks.rank() == ranks.size() - 1;
  bool is_alone = ranks.size() == 1;
};

TEST_F(mpi_refusals, names_the_rank_whose_rows_do_not_fit) {
  support::inputs<float> in = inputs_of(1, 4);
  tensor<float> out({1, 2, ranks.queries().rows(ranks.rank()), 4}, support::not_a_number);
  const tensor<float> q = support::rows_of_rank(in.q, ranks.queries(), ranks.rank());
  auto k = q.view();
  if (is_last) k.shape[2] = 1 + k.shape[2] / 2;
  const auto call = relpos::mpi::prepare(relpos::serial(), ranks, out.view(), q.view(), k, k);
  expect_refused({out, {}, call.valid(), {}},
                 ("rank " + std::to_string(ranks.size() - 1) + ": k: ").c_str());
}

TEST_F(mpi_refusals, of_sizes_that_differ) {
  if (is_alone) GTEST_SKIP() << "needs two ranks";
  expect_refused(support::attend_spread(ranks, inputs_of(is_last ? 2 : 1, 4), {}), "batch: is 2");
  expect_refused(support::attend_spread(ranks, inputs_of(1, is_last ? 6 : 4), {}),
                 "head_dim: is 6");
}

TEST_F(mpi_refusals, of_policies_that_differ) {
  if (is_alone) GTEST_SKIP() << "needs two ranks";
  const auto in = inputs_of(1, 4);
  std::vector<float> slopes{0.5f, 0.25f};
  if (is_last) slopes[1] = 0.125f;
  expect_refused(support::attend_spread(ranks, in, {}, relpos::alibi{slopes}, causal{}),
                 "policies: rank");
  expect_refused(support::attend_spread(ranks, in, {}, relpos::sliding_window{is_last ? 3 : 4}),
                 "policies: rank");
  expect_refused(support::attend_spread(ranks, in, {}, relpos::log_n{is_last ? 3 : 4}, causal{}),
                 "policies: rank");
  const std::vector<std::int32_t> first_block(static_cast<std::size_t>(length));
  const relpos::view<const std::int32_t, 4> lists(first_block.data(),
                                                  {1, 1, ranks.queries().rows(ranks.rank()), 1});
  expect_refused(
      support::attend_spread(ranks, in, {}, relpos::selected_keys{lists, is_last ? 3 : 2}),
      "policies: rank");
  // The same numbers, of another kind: one of the two has a bound.
  const std::vector<float> half_slopes{0.5f, 0.5f};
  const auto linear = [](index_t, index_t distance) { return 0.5 * static_cast<double>(distance); };
  expect_refused(
      is_last ? support::attend_spread(ranks, in, {}, relpos::relative_bias{linear}, causal{})
              : support::attend_spread(ranks, in, {}, relpos::alibi{half_slopes}, causal{}),
      "policies: rank");
  std::vector<index_t> positions(static_cast<std::size_t>(length));
  const relpos::view<const index_t, 2> all(positions.data(), {1, length});
  const relpos::view<const index_t, 2> own(positions.data(),
                                           {1, ranks.queries().rows(ranks.rank())});
  const relpos::rotary_table rope(relpos::rope_frequencies(4, is_last ? 500000.0 : 10000.0),
                                  relpos::pair_layout::half_split);
  expect_refused(support::attend_spread(ranks, in, {}, relpos::rotary{rope},
                                        relpos::token_positions{own, all}),
                 "policies: rank");
  expect_refused(
      support::attend_spread(ranks, in, {.softcap = 50.0f, .tolerance = is_last ? 0.0f : 3e-6f}),
      "options: rank");
  expect_refused(support::attend_spread(ranks, in, {.softcap = is_last ? 3.0f : 4.0f}, causal{}),
                 "options: rank");
}

TEST_F(mpi_refusals, of_shards_that_differ) {
  if (is_alone) GTEST_SKIP() << "needs two ranks";
  auto shards = contiguous_shards(length, ranks.size());
  if (is_last) {
    for (auto& piece : shards.pieces.back()) piece = {piece.first + 1, piece.last + 1};
  }
  const group other(MPI_COMM_WORLD, shards, contiguous_shards(length, ranks.size()));
  expect_refused(support::attend_spread(other, inputs_of(1, 4, length + 1), {}), "shards: rank");
}

TEST_F(mpi_refusals, of_messages_and_storage_types_that_differ) {
  if (is_alone) GTEST_SKIP() << "needs two ranks";
  const group other(MPI_COMM_WORLD, contiguous_shards(length, ranks.size()), is_last ? 100 : 200);
  expect_refused(support::attend_spread(other, inputs_of(1, 4), {}),
                 "group.largest_message: is 100 on rank");
  tensor<float> out({1, 2, ranks.queries().rows(ranks.rank()), 4}, support::not_a_number);
  const tensor<relpos::half> halves(out.shape);
  const tensor<relpos::bfloat16> bfloats(out.shape);
  const auto valid = [&](const auto& rows) {
    return relpos::mpi::prepare(relpos::serial(), ranks, out.view(), rows.view(), rows.view(),
                                rows.view())
        .valid();
  };
  expect_refused({out, {}, is_last ? valid(halves) : valid(bfloats), {}}, "storage types: rank");
}

/// A mask that throws.
struct failing_mask {
  bool fails;

  relpos::key_range visible_keys(index_t q_pos) const {
    if (fails) throw std::runtime_error("no range today");
    return {0, q_pos + 1};
  }
};

TEST_F(mpi_refusals, of_a_policy_that_throws_on_one_rank) {
  expect_refused(support::attend_spread(ranks, inputs_of(1, 4), {}, failing_mask{is_last}),
                 "no range today");
}

TEST_F(mpi_refusals, of_lists_that_do_not_ascend_on_one_rank) {
  const group zigzag(MPI_COMM_WORLD, relpos::mpi::zigzag_shards(length, ranks.size()));
  const index_t rows = zigzag.queries().rows(zigzag.rank());
  tensor<std::int32_t> lists({1, 1, rows, 2}, 0);
  for (index_t row = 0; row < rows; ++row) lists(0, 0, row, 1) = -1;
  if (is_last) lists(0, 0, rows - 1, 1) = 0;  // of a row in the second of its pieces
  const relpos::selected_keys policy{relpos::view<const std::int32_t, 4>(lists.view())};
  expect_refused(
      support::attend_spread(zigzag, inputs_of(1, 4), {}, policy),
      ("rank " + std::to_string(ranks.size() - 1) + ": selected_keys: list has 0 at").c_str());
}

TEST_F(mpi_refusals, of_data_with_a_row_too_many) {
  const index_t rows = ranks.queries().rows(ranks.rank());
  const tensor<std::int32_t> lists({1, 1, is_last ? rows + 1 : rows, 1}, -1);
  expect_refused(
      support::attend_spread(ranks, inputs_of(1, 4), {}, relpos::selected_keys{lists.view()}),
      "selected_keys: list is [1, 1, ");
  const std::vector<std::int32_t> buckets{0, 1};
  const tensor<float> of_queries({1, 2, is_last ? rows + 1 : rows, 2});
  expect_refused(support::attend_spread(ranks, inputs_of(1, 4), {},
                                        relpos::query_tables(of_queries.view(), buckets, 0)),
                 "query_tables: tables are [1, 2, ");
  const tensor<float> of_keys({1, 2, is_last ? length + 1 : length, 2});
  expect_refused(support::attend_spread(ranks, inputs_of(1, 4), {},
                                        relpos::key_tables(of_keys.view(), buckets, 0)),
                 "key_tables: tables are [1, 2, 41, 2], must be [batch, heads, key, bucket] = [1, "
                 "2, 40, 2]");
}

TEST_F(mpi_refusals, of_tables_over_queries_and_keys_that_begin_apart) {
  const group apart(MPI_COMM_WORLD, contiguous_shards(length, ranks.size(), 7),
                    contiguous_shards(length, ranks.size()));
  const std::vector<std::int32_t> buckets{0, 1};
  const tensor<float> tables({1, 2, apart.queries().rows(apart.rank()), 2});
  expect_refused(support::attend_spread(apart, inputs_of(1, 4), {},
                                        relpos::query_tables(tables.view(), buckets, 0)),
                 "the queries of sequence 0 begin at 7 and its keys at 0");
}

TEST_F(mpi_refusals, of_statistics_that_do_not_merge) {
  tensor<float, 3> mean({1, 2, ranks.queries().rows(ranks.rank())});
  expect_refused(support::attend_spread(ranks, inputs_of(1, 4),
                                        {.statistics = {.logit_mean = mean.view()}}, causal{}),
                 "logit_mean needs logit_count");
}

TEST_F(mpi_refusals, of_an_executor_with_more_workers_than_the_prepared_one) {
  tensor<float> out({1, 2, ranks.queries().rows(ranks.rank()), 4}, support::not_a_number);
  const tensor<float> rows(out.shape);
  auto call = relpos::mpi::prepare(relpos::serial(), ranks, out.view(), rows.view(), rows.view(),
                                   rows.view());
  const auto loop = [](index_t count, const auto& run_item) {
    for (index_t i = 0; i < count; ++i) run_item(i);
  };
  expect_refused({out, {}, call.run(relpos::on_loop(loop, 2)), {}},
                 "executor: 2 workers, must be at most 1");
}

TEST_F(mpi_refusals, of_keys_that_two_pieces_have) {
  auto shards = contiguous_shards(length, ranks.size());
  shards.pieces[0].push_back({length - 3, length - 1});
  const group other(MPI_COMM_WORLD, shards);
  tensor<float> rows({1, 2, shards.rows(ranks.rank()), 4}, support::not_a_number);
  const tensor<float> q = rows;
  const auto call =
      relpos::mpi::prepare(relpos::serial(), other, rows.view(), q.view(), q.view(), q.view());
  expect_refused({rows, {}, call.valid(), {}}, "group.queries: position 37 is in two pieces");
}

TEST_F(mpi_refusals, of_arguments_that_no_rank_may_have) {
  const auto in = inputs_of(1, 4);
  const std::vector<float> slopes{0.5f};
  expect_refused(support::attend_spread(ranks, in, {}, relpos::alibi{slopes}), "rank 0: alibi");
  expect_refused(support::attend_spread(ranks, in, {.query_offset = 3}), "offsets and starts");
  const group other(MPI_COMM_WORLD, contiguous_shards(length, ranks.size()), 0);
  expect_refused(support::attend_spread(other, in, {}), "group.largest_message: is 0");
  const group wrong(MPI_COMM_WORLD, contiguous_shards(length, ranks.size() + 1));
  tensor<float> out({1, 2, 1, 4}, support::not_a_number);
  const auto call =
      relpos::mpi::prepare(relpos::serial(), wrong, out.view(), out.view(), out.view(), out.view());
  expect_refused({out, {}, call.valid(), {}}, "group.queries: shards of");
}

}  // namespace
