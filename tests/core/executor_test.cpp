#include "relpos/core/executor.hpp"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace {

using relpos::index_t;

TEST(serial, runs_every_item_once_in_order_on_worker_zero) {
  std::vector<std::pair<index_t, index_t>> seen;
  relpos::serial::run(4, [&](index_t i, index_t worker) { seen.emplace_back(i, worker); });
  EXPECT_EQ(seen, (std::vector<std::pair<index_t, index_t>>{{0, 0}, {1, 0}, {2, 0}, {3, 0}}));
  EXPECT_EQ(relpos::serial::workers(), 1);
}

TEST(serial, runs_nothing_for_a_count_of_zero) {
  relpos::serial::run(0, [](index_t, index_t) { ADD_FAILURE(); });
}

struct not_an_executor {
  static index_t workers() { return 1; }
};
static_assert(relpos::executor<relpos::serial>);
static_assert(!relpos::executor<not_an_executor> && !relpos::executor<int>);

}  // namespace
