#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <string>

#include "check/attention_call.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using relpos_test::attention_call;

constexpr status_code invalid_shape = status_code::invalid_shape;

template <std::size_t Rank>
std::string text_of(const std::array<index_t, Rank>& shape) {
  std::string text;
  for (const index_t extent : shape) text += (text.empty() ? "[" : ", ") + std::to_string(extent);
  return text + "]";
}

TEST(check_shapes, what_belongs_together_is_computed) {
  attention_call call;
  const relpos::status done = call.run();
  EXPECT_TRUE(done) << done.message;
  EXPECT_TRUE(call.is_complete());
}

TEST(check_shapes, no_extent_is_negative) {
  for (std::size_t axis = 0; axis < 4; ++axis) {
    for (const char* name : {"q", "k", "v", "out"}) {
      attention_call call;
      const std::string argument = name;
      auto& shape = argument == "q"   ? call.q.shape
                    : argument == "k" ? call.k.shape
                    : argument == "v" ? call.v.shape
                                      : call.out.shape;
      shape[axis] = -2;
      EXPECT_TRUE(call.refuses(invalid_shape, {argument + ": ", "-2", "negative"}));
    }
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    attention_call call;
    call.opts.lse->shape[axis] = -1;
    EXPECT_TRUE(call.refuses(invalid_shape, {"lse: ", "-1", "negative"}));
  }
}

TEST(check_shapes, head_dim_is_at_least_one) {
  attention_call call;
  call.q.shape[3] = 0;
  call.k.shape[3] = 0;
  EXPECT_TRUE(call.refuses(invalid_shape, {"q: ", "head_dim", "[2, 4, 3, 0]"}));
}

TEST(check_shapes, keys_have_the_batch_of_the_queries) {
  attention_call call;
  call.k.shape[0] = 1;
  EXPECT_TRUE(call.refuses(invalid_shape, {"k: ", "batch", "[1, 2, 5, 8]", "[2, 4, 3, 8]"}));
}

TEST(check_shapes, keys_have_the_head_dim_of_the_queries) {
  attention_call call;
  call.k.shape[3] = 7;
  EXPECT_TRUE(call.refuses(invalid_shape, {"k: ", "head_dim", "[2, 2, 5, 7]", "[2, 4, 3, 8]"}));
}

TEST(check_shapes, query_heads_are_a_multiple_of_key_heads) {
  for (const index_t key_heads : {index_t{3}, index_t{5}, index_t{8}, index_t{0}}) {
    attention_call call;
    call.k.shape[1] = call.v.shape[1] = key_heads;
    const std::string key_shape = "[2, " + std::to_string(key_heads) + ", 5, 8]";
    EXPECT_TRUE(call.refuses(invalid_shape, {"k: ", "multiple", key_shape, "[2, 4, 3, 8]"}));
  }
}

TEST(check_shapes, values_have_the_batch_heads_and_length_of_the_keys) {
  attention_call call;
  call.v.shape[0] = 1;
  EXPECT_TRUE(call.refuses(invalid_shape, {"v: ", "batch", "[1, 2, 5, 6]", "[2, 2, 5, 8]"}));
  call.v.shape = {2, 1, 5, 6};
  EXPECT_TRUE(call.refuses(invalid_shape, {"v: ", "heads", "[2, 1, 5, 6]", "[2, 2, 5, 8]"}));
  call.v.shape = {2, 2, 4, 6};
  EXPECT_TRUE(call.refuses(invalid_shape, {"v: ", "length", "[2, 2, 4, 6]", "[2, 2, 5, 8]"}));
}

TEST(check_shapes, out_has_the_rows_of_q_and_the_channels_of_v) {
  for (std::size_t axis = 0; axis < 4; ++axis) {
    for (const index_t change : {index_t{-1}, index_t{1}}) {
      attention_call call;
      std::array<index_t, 4> shape = call.out.shape;
      shape[axis] += change;
      call.out = relpos::view<float, 4>(call.out_values.data(), shape);
      EXPECT_TRUE(call.refuses(invalid_shape, {"out: ", text_of(shape), "[2, 4, 3, 6]"}));
    }
  }
}

TEST(check_shapes, out_shaped_like_q_is_refused_when_values_are_narrower) {
  attention_call call;
  call.out = relpos::view<float, 4>(call.out_values.data(), call.q.shape);
  EXPECT_TRUE(call.refuses(invalid_shape, {"out: ", "[2, 4, 3, 8]", "[2, 4, 3, 6]"}));
}

TEST(check_shapes, lse_has_the_rows_of_q) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    for (const index_t change : {index_t{-1}, index_t{1}}) {
      attention_call call;
      std::array<index_t, 3> shape = call.opts.lse->shape;
      shape[axis] += change;
      call.opts.lse = relpos::view<float, 3>(call.lse_values.data(), shape);
      EXPECT_TRUE(call.refuses(invalid_shape, {"lse: ", text_of(shape), "[2, 4, 3]"}));
    }
  }
}

// Zero strides: as long as it says, and yet five rows of memory.
TEST(check_shapes, lengths_fit_in_31_bits) {
  constexpr index_t too_long = index_t{1} << 31;
  attention_call keys;
  keys.k.shape[2] = keys.v.shape[2] = too_long;
  keys.k.strides[2] = keys.v.strides[2] = 0;
  EXPECT_TRUE(keys.refuses(invalid_shape, {"k: ", "2^31 - 1", "[2, 2, 2147483648, 8]"}));

  attention_call queries;
  queries.q =
      relpos::view<const float, 4>(queries.q_values.data(), {1, 1, too_long, 8}, {0, 0, 0, 1});
  queries.k.shape = {1, 1, 5, 8};
  queries.v.shape = {1, 1, 5, 6};
  queries.out = relpos::view<float, 4>(queries.out_values.data(), {1, 1, too_long, 6});
  queries.opts.lse.reset();
  EXPECT_TRUE(queries.refuses(invalid_shape, {"q", "2^31 - 1", "[1, 1, 2147483648, 8]"}));
}

// Tensors without elements, or with strides of 0, have any size in no memory.
TEST(check_shapes, heads_and_channels_fit_in_31_bits) {
  attention_call heads;
  const index_t many = index_t{1} << 40;
  heads.q = relpos::view<const float, 4>(heads.q_values.data(), {1, many, 0, 8});
  heads.k = relpos::view<const float, 4>(heads.k_values.data(), {1, 1, 5, 8});
  heads.v = relpos::view<const float, 4>(heads.v_values.data(), {1, 1, 5, 6});
  heads.out = relpos::view<float, 4>(heads.out_values.data(), {1, many, 0, 6});
  heads.opts.lse.reset();
  EXPECT_TRUE(heads.refuses(invalid_shape, {"q: ", "1099511627776 heads", "2^31 - 1 heads"}));

  attention_call channels;
  channels.q.shape[3] = channels.k.shape[3] = index_t{1} << 50;
  channels.q.strides[3] = channels.k.strides[3] = 0;
  EXPECT_TRUE(channels.refuses(invalid_shape, {"1125899906842624", "2^31 - 1 channels"}));
  EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, channels.q, channels.k, channels.v), 0u);
}

// Large calls that servers make, and calls whose workspace overflows 64 bits.
TEST(check_shapes, workspaces_fit_in_64_bits) {
  const auto shape = [](index_t batch, index_t heads, index_t queries, index_t keys, index_t d) {
    return relpos::attention_shape{batch, heads, heads, queries, keys, d, d};
  };
  constexpr index_t mebi = index_t{1} << 20;
  constexpr index_t longest = std::numeric_limits<std::int32_t>::max();
  EXPECT_TRUE(relpos::check_size(shape(1024, 128, 128 * 1024, 128 * 1024, 128), 256));
  EXPECT_TRUE(relpos::check_size(shape(512, 128, 8192, mebi, 576), 256));
  EXPECT_TRUE(relpos::check_size(shape(1, 128, 16 * mebi, 16 * mebi, 128), 1));
  EXPECT_TRUE(relpos::check_size(shape(1, 8, 1, longest, 128), 65536));
  const relpos::status refused = relpos::check_size(shape(1, mebi, longest, longest, 128), 1);
  EXPECT_NE(std::string(refused.message).find("1048576 heads"), std::string::npos);
  EXPECT_FALSE(refused);
  EXPECT_FALSE(relpos::check_size(shape(1, 1, 1, 1024, 64), std::numeric_limits<index_t>::max()));
}

TEST(check_shapes, shapes_of_any_size_are_written_in_full) {
  constexpr index_t longest = std::numeric_limits<index_t>::min();
  const std::array<index_t, 4> shape{longest, longest, longest, longest};
  const std::string number = std::to_string(longest);
  EXPECT_EQ(relpos::shape_text(shape).text,
            "[" + number + ", " + number + ", " + number + ", " + number + "]");
}

TEST(check_shapes, shards_of_no_heads_and_no_rows_are_accepted) {
  attention_call call;
  call.q.shape[1] = call.k.shape[1] = call.v.shape[1] = call.out.shape[1] = 0;
  call.opts.lse->shape[1] = 0;
  EXPECT_TRUE(call.run());

  attention_call no_queries;
  no_queries.q.shape[2] = no_queries.out.shape[2] = no_queries.opts.lse->shape[2] = 0;
  EXPECT_TRUE(no_queries.run());
}

TEST(check_shapes, without_keys_rows_are_zero_and_lse_is_minus_infinity) {
  attention_call call;
  call.k.shape[2] = call.v.shape[2] = 0;
  EXPECT_TRUE(call.run());
  for (const float value : call.out_values) EXPECT_EQ(value, 0.0f);
  for (const float value : call.lse_values) {
    EXPECT_EQ(value, -std::numeric_limits<float>::infinity());
  }
}

}  // namespace
