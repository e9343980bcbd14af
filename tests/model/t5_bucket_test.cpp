#include "relpos/model/t5_bucket.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "support/floating_point_modes.hpp"
#include "support/golden.hpp"
#include "support/t5_thresholds.hpp"

namespace {

using relpos::index_t;
using relpos::t5_buckets;
using support::t5_thresholds;

t5_buckets rule(bool bidirectional, index_t num_buckets, index_t max_distance) {
  return {num_buckets, max_distance,
          bidirectional ? relpos::bidirectional : relpos::unidirectional};
}

// None of these distances is on an exact tie that the float logarithm of their origin decided the
// other way: the recorded buckets and the exact ones agree everywhere.
TEST(t5_bucket, is_that_of_torchscale) {
  const auto cases = support::golden("t5_buckets.json").at("cases");
  ASSERT_EQ(cases.size(), 6u);
  for (const auto& each : cases) {
    const t5_buckets buckets =
        rule(each.at("bidirectional"), each.at("num_buckets"), each.at("max_distance"));
    index_t distance = each.at("first_relative_position");
    for (const auto& bucket : each.at("buckets")) {
      EXPECT_EQ(buckets.bucket(distance), bucket.get<index_t>()) << "distance " << distance;
      ++distance;
    }
  }
}

TEST(t5_bucket, begins_where_exact_integers_say) {
  for (const t5_thresholds& each : {support::t5_encoder, support::t5_decoder, support::wavlm}) {
    const t5_buckets buckets = rule(each.bidirectional, each.num_buckets, each.max_distance);
    for (index_t distance = -2000; distance <= 2000; ++distance) {
      ASSERT_EQ(buckets.bucket(distance), each.bucket(distance))
          << each.num_buckets << " buckets, distance " << distance;
    }
  }
}

// Where the logarithm is an integer, one unit in the last place of a float would decide.
TEST(t5_bucket, exact_ties_belong_to_the_upper_bucket) {
  const t5_thresholds with_ties[] = {
      {true, 32, 128, {12, 16, 23, 32, 46, 64, 91}},  // at 16, 32, 64
      {false, 8, 64, {8, 16, 32}},                    // at each
      {false, 8, 324, {12, 36, 108}},                 // at each
      {true, 8, 32, {8}},
      {false, 10, 160, {10, 20, 40, 80}},  // where logarithms in double fall short too
  };
  for (const t5_thresholds& each : with_ties) {
    const t5_buckets buckets = rule(each.bidirectional, each.num_buckets, each.max_distance);
    const index_t last = 2 * each.max_distance;
    for (const support::floating_point_mode& mode : support::floating_point_modes) {
      std::vector<index_t> got(static_cast<std::size_t>(2 * last + 1));
      support::in_mode(mode, [&] {
        for (std::size_t i = 0; i < got.size(); ++i) {
          got[i] = buckets.bucket(static_cast<index_t>(i) - last);
        }
      });
      for (std::size_t i = 0; i < got.size(); ++i) {
        const index_t distance = static_cast<index_t>(i) - last;
        ASSERT_EQ(got[i], each.bucket(distance)) << mode.name << ", distance " << distance;
      }
    }
  }
}

TEST(t5_bucket, smallest_rules) {
  const t5_buckets two = rule(false, 2, 10);
  EXPECT_EQ(two.bucket(5), 0);
  EXPECT_EQ(two.bucket(0), 0);
  EXPECT_EQ(two.bucket(-1), 1);
  EXPECT_EQ(two.bucket(-100), 1);

  const t5_buckets four = rule(true, 4, 128);
  EXPECT_EQ(four.bucket(0), 0);
  EXPECT_EQ(four.bucket(-1), 1);
  EXPECT_EQ(four.bucket(-128), 1);
  EXPECT_EQ(four.bucket(1), 3);
  EXPECT_EQ(four.bucket(128), 3);
}

TEST(t5_bucket, last_bucket_holds_everything_beyond) {
  for (const t5_thresholds& each : {support::t5_encoder, support::t5_decoder, support::wavlm}) {
    const t5_buckets buckets = rule(each.bidirectional, each.num_buckets, each.max_distance);
    const index_t last = each.first_distance.back();
    const index_t far = index_t{1} << 50;
    EXPECT_EQ(buckets.bucket(-far), buckets.bucket(-last));
    EXPECT_EQ(buckets.bucket(far), buckets.bucket(last));
    EXPECT_EQ(buckets.bucket(-last),
              (each.bidirectional ? each.num_buckets / 2 : each.num_buckets) - 1);
    EXPECT_NE(buckets.bucket(-last), buckets.bucket(-last + 1));
  }
}

}  // namespace
