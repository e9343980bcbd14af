// Outputs that do not lie one after another, or begin where two cannot be stored at once.

#include <gtest/gtest.h>

#include <vector>

#include "device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::half;
using relpos::index_t;

/// A call writes its outputs with these strides, from `offset` on, and nothing beside them.
void expect_outputs(const std::array<index_t, 4>& strides, index_t offset) {
  const auto in = support::random_inputs<half>(
      {.query_heads = 2, .query_length = 33, .key_length = 40, .head_dim = 64, .value_dim = 64}, 3);
  const auto expected = support::attend_on_device<64, half>(in, {}, relpos::causal{}).out;
  std::vector<half> memory(static_cast<std::size_t>(strides[1] * 2 + offset), half(77.0f));
  const relpos::view<half, 4> out(memory.data() + offset, {1, 2, 33, 64}, strides);
  const relpos::tensor_views<half, half> source{in.k.view(), in.v.view()};
  const auto problem = relpos::make_problem(out, relpos::view<const half, 4>(in.q.view()), source,
                                            {}, {}, std::tuple(relpos::causal{}));
  const relpos::device_workspace_bytes bytes = relpos::measure_device_workspace(problem);
  std::vector<std::byte> device(bytes.device), host(bytes.host);
  EXPECT_TRUE(relpos::run_device_call<relpos::head_dims<64>>(
      support::emulated_device(support::thread_order::up), problem, {device, host}));
  index_t untouched = 0;
  for (const half x : memory) untouched += x.bits == half(77.0f).bits ? 1 : 0;
  EXPECT_EQ(untouched, static_cast<index_t>(memory.size()) - 2 * 33 * 64);
  for (index_t head = 0; head < 2; ++head) {
    for (index_t row = 0; row < 33; ++row) {
      for (index_t c = 0; c < 64; ++c) {
        ASSERT_EQ(out(0, head, row, c).bits, expected(0, head, row, c).bits)
            << head << ", " << row << ", " << c;
      }
    }
  }
}

TEST(strided_outputs, in_any_place) {
  expect_outputs({2 * 33 * 64, 33 * 64, 64, 1}, 0);
  expect_outputs({2 * 33 * 64, 33 * 64, 64, 1}, 1);
  expect_outputs({2 * 33 * 65, 33 * 65, 65, 1}, 0);
  expect_outputs({2 * 33 * 192, 33 * 192, 192, 3}, 0);
}

}  // namespace
