#include <gtest/gtest.h>

#include <limits>

#include "check/attention_call.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using relpos_test::attention_call;

constexpr status_code invalid_value = status_code::invalid_value;
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

TEST(check_options, scale_is_finite) {
  for (const float scale : {infinity, -infinity, nan}) {
    attention_call call;
    call.opts.scale = scale;
    EXPECT_TRUE(call.refuses(invalid_value, {"options.scale: ", "finite"}));
  }
}

TEST(check_options, any_finite_scale_is_accepted) {
  for (const float scale : {0.0f, -0.5f, 3.0f}) {
    attention_call call;
    call.opts.scale = scale;
    EXPECT_TRUE(call.run());
  }
}

TEST(check_options, softcap_is_finite_and_not_negative) {
  for (const float softcap : {-1.0f, -1e-30f, infinity, -infinity, nan}) {
    attention_call call;
    call.opts.softcap = softcap;
    EXPECT_TRUE(call.refuses(invalid_value, {"options.softcap: ", "finite and not negative"}));
  }
}

TEST(check_options, tolerance_is_small_and_not_negative) {
  for (const float tolerance : {-1e-9f, 0.0011f, 1.0f, infinity, nan}) {
    attention_call call;
    call.opts.tolerance = tolerance;
    EXPECT_TRUE(call.refuses(invalid_value, {"options.tolerance: ", "from 0 up to 0.001"}));
  }
  for (const float tolerance : {0.0f, 1e-30f, 0.001f}) {
    attention_call call;
    call.opts.tolerance = tolerance;
    EXPECT_TRUE(call.run());
  }
}

TEST(check_options, refused_numbers_are_named) {
  attention_call call;
  call.opts.softcap = -2.5f;
  EXPECT_TRUE(call.refuses(invalid_value, {"is -2.5"}));
}

TEST(check_options, offsets_are_within_2_to_the_60) {
  constexpr index_t largest = index_t{1} << 60;
  for (const index_t offset : {largest + 1, -largest - 1, std::numeric_limits<index_t>::max(),
                               std::numeric_limits<index_t>::min()}) {
    attention_call query;
    query.opts.query_offset = offset;
    EXPECT_TRUE(query.refuses(invalid_value, {"options.query_offset", "2^60"}));
    attention_call key;
    key.opts.key_offset = offset;
    EXPECT_TRUE(key.refuses(invalid_value, {"options.key_offset", "2^60"}));
  }
}

TEST(check_options, offsets_up_to_the_limit_are_accepted) {
  constexpr index_t largest = index_t{1} << 60;
  for (const index_t offset : {largest, -largest}) {
    attention_call call;
    call.opts.query_offset = offset;
    call.opts.key_offset = -offset;
    EXPECT_TRUE(call.run());
    EXPECT_TRUE(call.is_complete());
  }
}

/// partial() on the tensors of an attention_call.
struct partial_call : attention_call {
  relpos::partial_state state{out, *opts.lse};
  partial_call() {
    opts.lse.reset();
    opts.query_offset = 2;
  }
  testing::AssertionResult refuses(status_code code, std::initializer_list<std::string> words) {
    std::fill(memory.begin(), memory.end(), filler);
    return explains(relpos::partial(relpos::serial{}, memory, state, q, k, v, opts), code, words);
  }
};

TEST(check_partial, a_state_is_written_whole) {
  partial_call call;
  EXPECT_TRUE(relpos::partial(relpos::serial{}, call.memory, call.state, call.q, call.k, call.v,
                              call.opts));
  EXPECT_TRUE(call.is_complete());
}

TEST(check_partial, query_offset_is_given) {
  partial_call call;
  call.opts.query_offset.reset();
  EXPECT_TRUE(call.refuses(invalid_value, {"options.query_offset: ", "partial"}));
}

TEST(check_partial, lse_is_the_one_of_the_state) {
  partial_call call;
  call.opts.lse = call.state.lse;
  EXPECT_TRUE(call.refuses(invalid_value, {"options.lse: ", "state.lse"}));
}

TEST(check_partial, the_state_has_an_lse) {
  partial_call call;
  call.state.lse.data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"state.lse: ", "[2, 4, 3]"}));
}

TEST(check_partial, the_state_is_not_empty) {
  partial_call call;
  call.state.lse = {};
  EXPECT_TRUE(
      call.refuses(status_code::invalid_shape, {"state.lse: ", "[0, 0, 0]", "must be [2, 4, 3]"}));
}

TEST(check_partial, the_state_has_the_shape_of_the_result) {
  partial_call call;
  call.state.out.shape[2] = 2;
  EXPECT_TRUE(call.refuses(status_code::invalid_shape, {"out: ", "[2, 4, 2, 6]", "[2, 4, 3, 6]"}));
  call.state.out.shape[2] = 3;
  call.state.lse.shape[1] = 2;
  EXPECT_TRUE(call.refuses(status_code::invalid_shape, {"lse: ", "[2, 2, 3]", "[2, 4, 3]"}));
}

}  // namespace
