// Lists that do not divide a batch into sequences, or have no number for each of them.

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <span>

#include "check/attention_call.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using relpos_test::attention_call;

constexpr status_code invalid_value = status_code::invalid_value;
constexpr status_code invalid_shape = status_code::invalid_shape;

/// The same numbers as one batch entry: 6 rows of queries, 10 of keys.
struct ragged_call : attention_call {
  ragged_call() {
    out = {out_values.data(), {1, 4, 6, 6}};
    q = {q_values.data(), {1, 4, 6, 8}};
    k = {k_values.data(), {1, 2, 10, 8}};
    v = {v_values.data(), {1, 2, 10, 6}};
    opts.lse = relpos::view<float, 3>(lse_values.data(), {1, 4, 6});
  }
};

/// For either list of starts: the other is right, of 3 sequences.
template <class Refuse>
void with_either_starts(const Refuse& refuse) {
  const std::vector<index_t> queries{0, 2, 2, 6};
  const std::vector<index_t> keys{0, 4, 7, 10};
  ragged_call of_queries;
  of_queries.opts.key_starts = keys;
  refuse(of_queries, of_queries.opts.query_starts, std::string("options.query_starts: "), 6);
  ragged_call of_keys;
  of_keys.opts.query_starts = queries;
  refuse(of_keys, of_keys.opts.key_starts, std::string("options.key_starts: "), 10);
}

TEST(check_starts, right_ones_are_accepted_and_every_row_written) {
  const std::vector<std::int32_t> queries{0, 2, 2, 6};
  const std::vector<std::int64_t> keys{0, 4, 7, 10};
  ragged_call call;
  call.opts.query_starts = queries;
  call.opts.key_starts = keys;
  EXPECT_TRUE(call.run());
  EXPECT_TRUE(call.is_complete());
}

TEST(check_starts, begin_with_0) {
  with_either_starts([](auto& call, auto& starts, const std::string& name, index_t rows) {
    for (const index_t first : {index_t{1}, index_t{-1}}) {
      const std::vector<index_t> list{first, 2, 4, rows};
      starts = list;
      EXPECT_TRUE(call.refuses(invalid_value, {name, "begins with " + std::to_string(first)}));
    }
  });
}

TEST(check_starts, do_not_decrease) {
  with_either_starts([](auto& call, auto& starts, const std::string& name, index_t rows) {
    const std::vector<std::int32_t> list{0, 5, 4, static_cast<std::int32_t>(rows)};
    starts = list;
    EXPECT_TRUE(call.refuses(invalid_value, {name, "is 4 at 2", "the 5 before"}));
    const std::vector<index_t> beyond{0, std::numeric_limits<index_t>::max(), rows, rows};
    starts = beyond;
    EXPECT_TRUE(call.refuses(invalid_value, {name, " at 2"}));
  });
}

TEST(check_starts, end_at_the_last_row) {
  with_either_starts([](auto& call, auto& starts, const std::string& name, index_t rows) {
    for (const index_t last : {rows - 1, rows + 1, std::numeric_limits<index_t>::max()}) {
      const std::vector<index_t> list{0, 2, 4, last};
      starts = list;
      EXPECT_TRUE(call.refuses(invalid_shape, {name, "ends with " + std::to_string(last),
                                               "has " + std::to_string(rows) + " rows"}));
    }
    const std::vector<index_t> none{0};
    starts = none;
    EXPECT_TRUE(call.refuses(invalid_shape, {name, "ends with 0"}));
  });
}

TEST(check_starts, are_not_null) {
  with_either_starts([](auto& call, auto& starts, const std::string& name, index_t) {
    starts = std::span<const std::int32_t>(static_cast<const std::int32_t*>(nullptr), 0);
    EXPECT_TRUE(starts.empty());  // and so there is no list: the other one counts 3 sequences
    EXPECT_TRUE(call.refuses(invalid_shape, {"sequences"}));
    struct {
      const index_t* data() const { return nullptr; }
      std::size_t size() const { return 4; }
    } nothing;
    starts = nothing;
    EXPECT_TRUE(call.refuses(status_code::null_data, {name, "4 numbers"}));
  });
}

TEST(check_starts, are_of_tensors_with_one_batch_entry) {
  const std::vector<index_t> queries{0, 1, 3};
  const std::vector<index_t> keys{0, 1, 5};
  attention_call of_queries;
  of_queries.opts.query_starts = queries;
  EXPECT_TRUE(of_queries.refuses(invalid_shape, {"options.query_starts: ", "q is [2, 4, 3, 8]"}));
  attention_call of_keys;
  of_keys.opts.key_starts = keys;
  EXPECT_TRUE(of_keys.refuses(invalid_shape, {"options.key_starts: ", "k is [2, 2, 5, 8]"}));
}

TEST(check_starts, are_of_as_many_sequences) {
  const std::vector<index_t> three{0, 2, 2, 6};
  const std::vector<index_t> two{0, 4, 10};
  ragged_call call;
  call.opts.query_starts = three;
  call.opts.key_starts = two;
  EXPECT_TRUE(
      call.refuses(invalid_shape, {"options.key_starts: ", "2 sequences of keys", "3 of queries"}));
  call.opts.key_starts = {};  // k of one entry
  EXPECT_TRUE(call.refuses(invalid_shape, {"1 sequences of keys", "3 of queries"}));
  call.opts.query_starts = {};
  call.opts.key_starts = two;
  EXPECT_TRUE(call.refuses(invalid_shape, {"2 sequences of keys", "1 of queries"}));
}

TEST(check_offsets, there_is_one_for_each_sequence) {
  const std::vector<std::int32_t> three{1, 2, 3};
  attention_call call;
  call.opts.query_offsets = three;
  EXPECT_TRUE(call.refuses(invalid_shape, {"options.query_offsets: ", "3 numbers", "2 sequences"}));
  call.opts.query_offsets = {};
  call.opts.key_offsets = three;
  EXPECT_TRUE(call.refuses(invalid_shape, {"options.key_offsets: ", "3 numbers", "2 sequences"}));

  const std::vector<index_t> queries{0, 2, 2, 6};
  const std::vector<index_t> keys{0, 4, 7, 10};
  const std::vector<index_t> one{0};
  ragged_call ragged;
  ragged.opts.query_starts = queries;
  ragged.opts.key_starts = keys;
  ragged.opts.query_offsets = three;
  EXPECT_TRUE(ragged.run());
  ragged.opts.query_offsets = one;
  std::fill(ragged.out_values.begin(), ragged.out_values.end(), attention_call::pattern);
  std::fill(ragged.lse_values.begin(), ragged.lse_values.end(), attention_call::pattern);
  EXPECT_TRUE(
      ragged.refuses(invalid_shape, {"options.query_offsets: ", "1 numbers", "3 sequences"}));
}

TEST(check_offsets, are_not_null) {
  struct {
    const std::int32_t* data() const { return nullptr; }
    std::size_t size() const { return 2; }
  } nothing;
  attention_call query;
  query.opts.query_offsets = nothing;
  EXPECT_TRUE(query.refuses(status_code::null_data, {"options.query_offsets: ", "null"}));
  attention_call key;
  key.opts.key_offsets = nothing;
  EXPECT_TRUE(key.refuses(status_code::null_data, {"options.key_offsets: ", "null"}));
}

TEST(check_offsets, are_within_2_to_the_60) {
  constexpr index_t largest = index_t{1} << 60;
  for (const index_t offset : {largest + 1, -largest - 1, std::numeric_limits<index_t>::max(),
                               std::numeric_limits<index_t>::min()}) {
    const std::vector<index_t> list{3, offset};
    attention_call query;
    query.opts.query_offsets = list;
    EXPECT_TRUE(query.refuses(invalid_value, {"options.query_offsets: ", " at 1", "2^60"}));
    attention_call key;
    key.opts.key_offsets = list;
    EXPECT_TRUE(key.refuses(invalid_value, {"options.key_offsets: ", " at 1", "2^60"}));
  }
  const std::vector<index_t> queries{largest, -largest};
  const std::vector<index_t> keys{-largest, largest};
  attention_call call;
  call.opts.query_offsets = queries;
  call.opts.key_offsets = keys;
  EXPECT_TRUE(call.run());
  EXPECT_TRUE(call.is_complete());
}

TEST(check_offsets, are_given_once) {
  const std::vector<index_t> list{0, 0};
  attention_call query;
  query.opts.query_offsets = list;
  query.opts.query_offset = 0;
  EXPECT_TRUE(query.refuses(invalid_value, {"options.query_offsets: ", "options.query_offset"}));
  attention_call key;
  key.opts.key_offsets = list;
  key.opts.key_offset = 5;
  EXPECT_TRUE(key.refuses(invalid_value, {"options.key_offsets: ", "options.key_offset"}));
}

TEST(check_lists, workspace_of_a_refused_call_is_none) {
  const std::vector<index_t> bad{1, 2, 6};
  const std::vector<index_t> three{0, 0, 0};
  ragged_call call;
  call.opts.query_starts = bad;
  EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, call.q, call.k, call.v, call.opts), 0u);
  call.opts.query_starts = {};
  call.opts.key_offsets = three;
  EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, call.q, call.k, call.v, call.opts), 0u);
}

/// Lists that lie in memory that the call writes. As 32-bit integers, its patterns are offsets.
TEST(check_lists, offsets_are_not_written) {
  for (const bool of_queries : {true, false}) {
    const char* const name = of_queries ? "options.query_offsets" : "options.key_offsets";
    attention_call call;
    const auto refused_at = [&](const void* place, const char* written) {
      (of_queries ? call.opts.query_offsets : call.opts.key_offsets) =
          std::span<const std::int32_t>(static_cast<const std::int32_t*>(place), 2);
      return call.refuses(status_code::overlap, {written, name});
    };
    EXPECT_TRUE(refused_at(call.out_values.data() + 142, "out: "));
    EXPECT_TRUE(refused_at(call.lse_values.data(), "options.lse: "));
    EXPECT_TRUE(refused_at(call.memory.data() + 64, "workspace: "));
  }
}

TEST(check_lists, starts_are_not_written) {
  const std::vector<std::int32_t> queries{0, 2, 2, 6};
  const std::vector<std::int32_t> keys{0, 4, 7, 10};
  for (const bool of_queries : {true, false}) {
    ragged_call call;
    std::memcpy(call.out_values.data() + 8, (of_queries ? queries : keys).data(), 16);
    const std::vector<float> before = call.out_values;
    call.opts.query_starts = queries;
    call.opts.key_starts = keys;
    const void* const inside = call.out_values.data() + 8;
    (of_queries ? call.opts.query_starts : call.opts.key_starts) =
        std::span<const std::int32_t>(static_cast<const std::int32_t*>(inside), 4);
    const relpos::status done = call.run();
    EXPECT_EQ(done.code, status_code::overlap);
    EXPECT_NE(std::strstr(done.message, of_queries ? "options.query_starts" : "options.key_starts"),
              nullptr)
        << done.message;
    EXPECT_EQ(std::memcmp(before.data(), call.out_values.data(), before.size() * 4), 0);
  }
}

}  // namespace
