// Between barriers, threads may run in any order.

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::half;
using support::attended;
using support::thread_order;

const std::vector<float> slopes{0.3f, 0.02f};

bool same_bits(const attended<float>& a, const attended<float>& b) {
  return support::same_bits(a.out, b.out) && support::same_bits(a.lse, b.lse);
}

/// `infinite`: the last values, which some rows see, by way of weights in shared memory.
template <int HeadDim>
void expect_any_order(bool infinite, relpos::index_t queries = 100) {
  auto in = support::random_inputs<half>({.query_heads = 2,
                                          .key_heads = 1,
                                          .query_length = queries,
                                          .key_length = 200,
                                          .head_dim = HeadDim,
                                          .value_dim = HeadDim},
                                         5);
  if (infinite) in.v(0, 0, 199, 3) = half(std::numeric_limits<float>::infinity());
  const auto run = [&](thread_order order) {
    return support::attend_in_order<HeadDim>(order, in, {}, relpos::alibi{slopes},
                                             relpos::causal{});
  };
  const auto up = run(thread_order::up);
  EXPECT_TRUE(same_bits(up, run(thread_order::down)));
  EXPECT_TRUE(same_bits(up, run(thread_order::interleaved)));
}

TEST(orders, of_threads_that_hold_queries) {
  expect_any_order<64>(false);
  expect_any_order<64>(true);
}
TEST(orders, of_threads_that_read_queries_again) {
  expect_any_order<256>(false);
  expect_any_order<256>(true);
}
TEST(orders, of_threads_whose_warps_go_their_own_ways) {
  expect_any_order<64>(false, 3);
  expect_any_order<64>(true, 3);
}

}  // namespace
