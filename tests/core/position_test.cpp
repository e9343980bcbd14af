#include "relpos/core/position.hpp"

#include <gtest/gtest.h>

namespace {

using relpos::distance_range;
using relpos::index_t;
using relpos::key_range;
using relpos::max_offset;

TEST(key_range, contains_its_first_and_not_its_last) {
  constexpr key_range range{-3, 2};
  for (index_t position = -10; position < 10; ++position) {
    EXPECT_EQ(range.contains(position), position >= -3 && position <= 1) << position;
  }
}

TEST(key_range, is_empty_when_the_last_does_not_follow_the_first) {
  for (const key_range nothing : {key_range{}, key_range{5, 5}, key_range{6, 2}}) {
    for (index_t position = -10; position < 10; ++position)
      EXPECT_FALSE(nothing.contains(position));
  }
}

TEST(key_range, intersection_contains_what_both_contain) {
  for (index_t a = -3; a < 3; ++a) {
    for (index_t b = a; b < 4; ++b) {
      for (index_t c = -3; c < 3; ++c) {
        for (index_t d = c; d < 4; ++d) {
          const key_range common = intersect(key_range{a, b}, key_range{c, d});
          for (index_t position = -5; position < 6; ++position) {
            const bool in_both = a <= position && position < b && c <= position && position < d;
            EXPECT_EQ(common.contains(position), in_both);
          }
        }
      }
    }
  }
}

TEST(key_range, everything_is_neutral_and_contains_every_position) {
  constexpr key_range everything = key_range::everything();
  constexpr key_range range{-7, 9};
  EXPECT_EQ(intersect(everything, range), range);
  EXPECT_EQ(intersect(range, everything), range);
  for (const index_t position : {-4 * max_offset, index_t{0}, 4 * max_offset}) {
    EXPECT_TRUE(everything.contains(position));
  }
}

TEST(distance_range, is_closed_at_both_ends) {
  EXPECT_EQ((distance_range{-2, 3}.size()), 6);
  EXPECT_EQ((distance_range{4, 4}.size()), 1);
  EXPECT_FALSE((distance_range{4, 4}.empty()));
}

TEST(distance_range, is_empty_when_the_last_precedes_the_first) {
  EXPECT_TRUE(distance_range{}.empty());
  EXPECT_EQ(distance_range{}.size(), 0);
  EXPECT_TRUE((distance_range{3, -5}.empty()));
  EXPECT_EQ((distance_range{3, -5}.size()), 0);
}

TEST(distance_range, unlimited_holds_any_difference_of_positions) {
  constexpr distance_range unlimited = relpos::unlimited_distances;
  constexpr index_t longest = index_t{1} << 31;
  EXPECT_LT(unlimited.first, -2 * max_offset - longest);
  EXPECT_GT(unlimited.last, 2 * max_offset + longest);
  EXPECT_EQ(unlimited.size(), unlimited.last - unlimited.first + 1);
  EXPECT_GT(unlimited.size(), 0);
}

}  // namespace
