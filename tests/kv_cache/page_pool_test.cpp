// The pool believes what it has given out: neither entries of the table that are not in use nor
// pages that are not its own.

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using support::own_paged;

constexpr std::int32_t garbage = std::numeric_limits<std::int32_t>::max();
constexpr support::cache_sizes room{.batch = 3, .rows = 96};

/// As many as an append of so many rows leaves.
void set_length(own_paged<float>& of, index_t sequence, index_t length) {
  of.lengths[static_cast<std::size_t>(sequence)] = length;
}

void expect_refused(const relpos::status& got, const std::string& words) {
  EXPECT_EQ(got.code, status_code::invalid_value) << got.message;
  EXPECT_NE(std::string(got.message).find(words), std::string::npos) << got.message;
}

TEST(page_pool, pages_reserved_in_advance_are_known_without_the_table) {
  own_paged<float> of(room, 16);
  const index_t free = of.pool.free_pages();
  ASSERT_TRUE(of.pool.reserve(of.cache(), 0, 80));
  set_length(of, 0, 20);
  for (index_t block = 2; block < of.blocks; ++block) of.table_view()(0, block) = garbage;
  ASSERT_TRUE(of.pool.reserve(of.cache(), 0, 80));
  EXPECT_EQ(of.pool.free_pages(), free - 5);
  for (index_t block = 2; block < 5; ++block) {
    EXPECT_EQ(of.pool.uses(of.table_view()(0, block)), 1);
    of.table_view()(0, block) = garbage;
  }
  ASSERT_TRUE(of.pool.fork(of.cache(), 0, 1));
  EXPECT_EQ(of.pool.free_pages(), free - 5);
  ASSERT_TRUE(of.pool.truncate(of.cache(), 0, 0));
  EXPECT_EQ(of.pool.free_pages(), free - 2);
  ASSERT_TRUE(of.pool.truncate(of.cache(), 1, 0));
  EXPECT_EQ(of.pool.free_pages(), free);
}

TEST(page_pool, pages_that_it_did_not_give_are_refused) {
  own_paged<float> of(room, 16);
  set_length(of, 0, 20);
  of.table_view()(0, 0) = 3;
  of.table_view()(0, 1) = 4;
  const std::string words = "cache.block_table: is 3 at [0, 0]";
  expect_refused(of.pool.reserve(of.cache(), 0, 40), words);
  expect_refused(of.pool.fork(of.cache(), 0, 1), words);
  expect_refused(of.pool.truncate(of.cache(), 0, 0), words);
  EXPECT_EQ(of.lengths[0], 20);
}

TEST(page_pool, rows_out_of_range_are_refused) {
  own_paged<float> of(room, 16);
  expect_refused(of.pool.reserve(of.cache(), 0, -1), "rows: is -1");
  expect_refused(of.pool.reserve(of.cache(), 0, std::numeric_limits<index_t>::max()), "rows: is ");
}

}  // namespace
