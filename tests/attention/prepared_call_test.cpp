// A call is checked and measured once, and then run any number of times.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "check/attention_call.hpp"
#include "relpos/policies.hpp"
#include "support/executors.hpp"

namespace {

using relpos::index_t;
using relpos::prepare;
using relpos::serial;
using relpos::status;
using relpos::status_code;
using relpos_test::attention_call;
using support::shuffled;

/// A bias that counts how often it is asked to check.
struct counting_bias {
  int* checks = nullptr;

  template <class Real>
  Real bias(Real distance) const {
    return distance * Real(0.125f);
  }
  status check(const relpos::attention_shape&) const {
    ++*checks;
    return {};
  }
};

TEST(prepare, runs_as_attention_does) {
  attention_call wanted;
  ASSERT_TRUE(wanted.run(relpos::causal{}));
  attention_call call;
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  const auto prepared =
      prepare(serial{}, call.out, call.q, call.k, call.v, relpos::causal{}, call.opts);
  ASSERT_TRUE(prepared.valid());
  EXPECT_EQ(prepared.workspace_bytes(),
            relpos::workspace_bytes(serial{}, call.q, call.k, call.v, relpos::causal{}, call.opts));
  EXPECT_TRUE(call.is_untouched());
  std::vector<std::byte> memory(prepared.workspace_bytes());
  ASSERT_TRUE(prepared.run(serial{}, memory));
  EXPECT_EQ(call.out_values, wanted.out_values);
  EXPECT_EQ(call.lse_values, wanted.lse_values);
}

TEST(prepare, runs_again_on_other_numbers) {
  attention_call call;
  const auto prepared = prepare(serial{}, call.out, call.q, call.k, call.v, call.opts);
  std::vector<std::byte> memory(prepared.workspace_bytes());
  ASSERT_TRUE(prepared.run(serial{}, memory));
  const std::vector<float> first = call.out_values;

  for (float& each : call.q_values) each = -2.0f * each;
  attention_call wanted;
  wanted.q_values = call.q_values;
  wanted.q.data = wanted.q_values.data();
  ASSERT_TRUE(wanted.run());
  ASSERT_TRUE(prepared.run(serial{}, memory));
  EXPECT_EQ(call.out_values, wanted.out_values);
  EXPECT_EQ(call.lse_values, wanted.lse_values);
  EXPECT_NE(call.out_values, first);
}

TEST(prepare, checks_once) {
  attention_call call;
  int checks = 0;
  const counting_bias bias{&checks};
  const auto prepared = prepare(serial{}, call.out, call.q, call.k, call.v, bias);
  std::vector<std::byte> memory(prepared.workspace_bytes());
  ASSERT_TRUE(prepared.run(serial{}, memory));
  ASSERT_TRUE(prepared.run(serial{}, memory));
  EXPECT_EQ(checks, 1);
  checks = 0;
  ASSERT_TRUE(relpos::attention(serial{}, memory, call.out, call.q, call.k, call.v, bias));
  EXPECT_EQ(checks, 1);
}

TEST(prepare, says_what_attention_would_say) {
  attention_call call;
  call.out.shape[2] = 2;
  const auto prepared = prepare(serial{}, call.out, call.q, call.k, call.v, call.opts);
  const status done = call.run();
  EXPECT_FALSE(done);
  EXPECT_EQ(prepared.valid().code, done.code);
  EXPECT_STREQ(prepared.valid().message, done.message);
  EXPECT_EQ(prepared.workspace_bytes(), 0u);
  EXPECT_STREQ(prepared.run(serial{}, call.memory).message, done.message);
  EXPECT_TRUE(call.is_untouched());
}

TEST(prepare, refuses_workspace_that_is_too_small) {
  attention_call call;
  const auto prepared = prepare(serial{}, call.out, call.q, call.k, call.v, call.opts);
  const std::size_t bytes = prepared.workspace_bytes();
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  EXPECT_TRUE(call.explains(prepared.run(serial{}, {call.memory.data(), bytes - 1}),
                            status_code::workspace_too_small,
                            {"workspace: ", "needs " + std::to_string(bytes)}));
}

TEST(prepare, refuses_workspace_that_overlaps) {
  attention_call call;
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  call.q.data = reinterpret_cast<const float*>(call.memory.data());
  const auto prepared = prepare(serial{}, call.out, call.q, call.k, call.v, call.opts);
  ASSERT_TRUE(prepared.valid());
  EXPECT_TRUE(call.explains(prepared.run(serial{}, call.memory), status_code::overlap,
                            {"workspace: ", "overlaps q [2, 4, 3, 8]"}));
}

TEST(prepare, refuses_an_executor_of_more_workers) {
  attention_call wanted;
  ASSERT_TRUE(wanted.run());
  attention_call call;
  const auto prepared = prepare(shuffled{3}, call.out, call.q, call.k, call.v, call.opts);
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  EXPECT_TRUE(call.explains(prepared.run(shuffled{4}, call.memory), status_code::invalid_value,
                            {"executor: ", "is 4", "1 to 3"}));
  EXPECT_TRUE(call.explains(prepared.run(shuffled{0}, call.memory), status_code::invalid_value,
                            {"executor: ", "is 0", "1 to 3"}));
  for (const index_t workers : {3, 1}) {
    ASSERT_TRUE(prepared.run(shuffled{workers}, call.memory));
    EXPECT_EQ(call.out_values, wanted.out_values);
  }
}

TEST(prepare, of_a_slice_of_the_keys) {
  attention_call call;
  std::vector<float> lse(call.lse_values.size());
  const relpos::partial_state state{call.out, relpos::view<float, 3>(lse.data(), {2, 4, 3})};
  const relpos::options there{.query_offset = 4, .key_offset = 2};
  const auto prepared = prepare(serial{}, state, call.q, call.k, call.v, relpos::causal{}, there);
  ASSERT_TRUE(prepared.valid());
  std::vector<std::byte> memory(prepared.workspace_bytes());
  ASSERT_TRUE(prepared.run(serial{}, memory));
  const std::vector<float> out = call.out_values;
  const std::vector<float> sums = lse;
  ASSERT_TRUE(
      relpos::partial(serial{}, memory, state, call.q, call.k, call.v, relpos::causal{}, there));
  EXPECT_EQ(call.out_values, out);
  EXPECT_EQ(lse, sums);

  const auto nowhere = prepare(serial{}, state, call.q, call.k, call.v, relpos::causal{});
  EXPECT_EQ(nowhere.valid().code, status_code::invalid_value);
  EXPECT_NE(std::string(nowhere.valid().message).find("options.query_offset"), std::string::npos);
}

}  // namespace
