#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "check/attention_call.hpp"

namespace {

using relpos::serial;
using relpos::status;
using relpos::status_code;
using relpos::workspace;
using relpos_test::attention_call;

std::size_t needed(const attention_call& call) {
  return relpos::workspace_bytes(serial{}, call.q, call.k, call.v, call.opts);
}

status run_in(attention_call& call, workspace memory) {
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  return relpos::attention(serial{}, memory, call.out, call.q, call.k, call.v, call.opts);
}

TEST(check_workspace, one_byte_too_few_is_refused) {
  attention_call call;
  const std::size_t bytes = needed(call);
  const status done = run_in(call, workspace(call.memory.data(), bytes - 1));
  EXPECT_TRUE(call.explains(
      done, status_code::workspace_too_small,
      {"workspace: ", std::to_string(bytes - 1) + " bytes", "needs " + std::to_string(bytes)}));
}

TEST(check_workspace, null_is_no_workspace_whatever_its_size) {
  attention_call call;
  const std::size_t bytes = needed(call);
  EXPECT_TRUE(call.explains(run_in(call, {}), status_code::workspace_too_small,
                            {"workspace: ", "has 0 bytes", std::to_string(bytes)}));
  EXPECT_TRUE(call.explains(run_in(call, workspace(nullptr, bytes)),
                            status_code::workspace_too_small,
                            {"workspace: ", "has 0 bytes", std::to_string(bytes)}));
}

TEST(check_workspace, what_is_asked_for_is_enough_at_any_alignment) {
  attention_call wanted;
  EXPECT_TRUE(wanted.run());
  const std::size_t bytes = needed(wanted);
  for (std::size_t offset = 1; offset <= 64; ++offset) {
    attention_call call;
    std::byte* const begin = call.memory.data() + offset;
    EXPECT_TRUE(run_in(call, workspace(begin, bytes)));
    EXPECT_EQ(call.out_values, wanted.out_values);
    EXPECT_EQ(call.lse_values, wanted.lse_values);
    const auto is_filler = [](std::byte b) { return b == attention_call::filler; };
    EXPECT_TRUE(std::all_of(call.memory.data(), begin, is_filler));
    EXPECT_TRUE(std::all_of(begin + bytes, call.memory.data() + call.memory.size(), is_filler));
  }
}

TEST(check_workspace, what_it_held_has_no_influence) {
  attention_call wanted;
  EXPECT_TRUE(wanted.run());
  attention_call call;
  for (const unsigned fill : {0x00u, 0xffu, 0x7fu}) {  // zeros, and NaN of both signs
    std::vector<std::byte> memory(needed(call), static_cast<std::byte>(fill));
    EXPECT_TRUE(relpos::attention(serial{}, memory, call.out, call.q, call.k, call.v, call.opts));
    EXPECT_EQ(call.out_values, wanted.out_values);
    EXPECT_EQ(call.lse_values, wanted.lse_values);
  }
}

TEST(check_workspace, grows_linearly_in_the_lengths) {
  const auto bytes = [](relpos::index_t length) {
    const relpos::view<const float, 4> rows(nullptr, {1, 2, length, 8});
    return relpos::workspace_bytes(serial{}, rows, rows, rows);
  };
  EXPECT_EQ(bytes(1 << 20), bytes(1 << 12));
}

/// Says so many workers, and uses one.
struct many_workers : serial {
  relpos::index_t count;
  relpos::index_t workers() const { return count; }
};

TEST(check_workspace, an_executor_has_at_least_one_worker) {
  for (const relpos::index_t workers : {0, -1}) {
    attention_call call;
    std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
    const status done = relpos::attention(many_workers{{}, workers}, call.memory, call.out, call.q,
                                          call.k, call.v, call.opts);
    EXPECT_TRUE(call.explains(done, status_code::invalid_value,
                              {"executor: workers() is " + std::to_string(workers), "at least 1"}));
  }
}

TEST(check_workspace, of_more_workers_than_64_bits_can_count_is_refused) {
  const many_workers runner{{}, std::numeric_limits<relpos::index_t>::max()};
  attention_call call;
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  const status done =
      relpos::attention(runner, call.memory, call.out, call.q, call.k, call.v, call.opts);
  EXPECT_TRUE(call.explains(done, status_code::invalid_shape, {"and 9223372036854775807 workers"}));
  EXPECT_EQ(relpos::workspace_bytes(runner, call.q, call.k, call.v), 0u);
  EXPECT_EQ(relpos::workspace_bytes(many_workers{{}, -1}, call.q, call.k, call.v), 0u);
}

TEST(check_workspace, is_none_for_a_call_that_is_refused) {
  attention_call call;
  const std::vector<float> slopes(3);
  EXPECT_EQ(relpos::workspace_bytes(serial{}, call.q, call.k, call.v, relpos::alibi{slopes}), 0u);
  const std::vector<float> table(32 * 4);
  EXPECT_EQ(relpos::workspace_bytes(
                serial{}, call.q, call.k, call.v,
                relpos::t5_bias{table,
                                relpos::bidirectional,
                                {.max_distance = std::numeric_limits<relpos::index_t>::max()}}),
            0u);
  call.k.shape[2] = -1;
  EXPECT_EQ(needed(call), 0u);
}

TEST(check_workspace, grows_linearly_in_the_workers) {
  const attention_call call;
  const auto bytes = [&](relpos::index_t workers) {
    return relpos::workspace_bytes(many_workers{{}, workers}, call.q, call.k, call.v);
  };
  EXPECT_GT(bytes(2), bytes(1));
  EXPECT_EQ(bytes(3) - bytes(2), bytes(2) - bytes(1));
  EXPECT_EQ(bytes(100) - bytes(99), bytes(2) - bytes(1));
}

}  // namespace
