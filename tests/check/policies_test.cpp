// Data of policies that does not fit the call. All calls have the same policies, of which one is
// spoiled: one kernel is compiled, and no policy goes unasked because of its place.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "check/attention_call.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using relpos::view;
using relpos_test::attention_call;

constexpr status_code invalid_shape = status_code::invalid_shape;
constexpr status_code invalid_value = status_code::invalid_value;

struct policy_call : attention_call {
  std::vector<float> slopes = std::vector<float>(4, 0.5f);
  std::vector<float> left = slopes;
  std::vector<float> right = slopes;
  std::vector<float> table = std::vector<float>(std::size_t{32} * 4, 0.25f);
  std::vector<float> matrix = std::vector<float>(std::size_t{2} * 4 * 3 * 5, 0.125f);
  relpos::t5_bias::options t5{};
  relpos::t5_direction direction = relpos::bidirectional;
  view<const float, 4> matrix_view{matrix.data(), {2, 4, 3, 5}};
  relpos::band band{4, 2};
  relpos::temperature temperature{1.5};

  template <class Use>
  auto with_policies(Use&& use) {
    return use(relpos::alibi{slopes}, relpos::alibi_two_sided{left, right},
               relpos::t5_bias{table, direction, t5}, relpos::additive_bias{matrix_view}, band,
               temperature);
  }
  relpos::status run() {
    return with_policies([&](const auto&... each) { return attention_call::run(each...); });
  }
  testing::AssertionResult refuses(status_code code, std::initializer_list<std::string> words) {
    return with_policies(
        [&](const auto&... each) { return attention_call::refuses(code, words, each...); });
  }
};

TEST(check_policies, what_fits_is_computed) {
  policy_call call;
  const relpos::status done = call.run();
  EXPECT_TRUE(done) << done.message;
  EXPECT_TRUE(call.is_complete());
}

TEST(check_policies, alibi_has_one_slope_per_query_head) {
  for (const std::size_t count : {0u, 2u, 3u, 5u}) {
    policy_call call;
    call.slopes.resize(count);
    EXPECT_TRUE(
        call.refuses(invalid_shape, {"alibi: ", std::to_string(count) + " slopes", "4 heads"}));
  }
}

TEST(check_policies, alibi_two_sided_has_both_slopes_per_query_head) {
  policy_call call;
  call.left.pop_back();
  EXPECT_TRUE(call.refuses(invalid_shape, {"alibi_two_sided, left: ", "3 slopes", "4 heads"}));
  call.left = call.slopes;
  call.right.push_back(0.0f);
  EXPECT_TRUE(call.refuses(invalid_shape, {"alibi_two_sided, right: ", "5 slopes", "4 heads"}));
}

TEST(check_policies, slopes_of_other_alibis_are_one_per_query_head) {
  const std::vector<float> slopes(3);
  const relpos::attention_shape shape{.batch = 1, .query_heads = 4, .key_heads = 2};
  const relpos::status symmetric = relpos::alibi_symmetric{slopes}.check(shape);
  const relpos::status offset = relpos::alibi_offset{slopes}.check(shape);
  const relpos::status one_sided = relpos::alibi_one_sided{slopes}.check(shape);
  EXPECT_STREQ(symmetric.message, "alibi_symmetric: 3 slopes for a query of 4 heads");
  EXPECT_STREQ(offset.message, "alibi_offset: 3 slopes for a query of 4 heads");
  EXPECT_STREQ(one_sided.message, "alibi_one_sided: 3 slopes for a query of 4 heads");
}

TEST(check_policies, t5_table_has_one_value_per_bucket_and_head) {
  for (const std::size_t size : {0u, 127u, 129u, 32u}) {
    policy_call call;
    call.table.resize(size);
    EXPECT_TRUE(call.refuses(invalid_shape, {"t5_bias: ", std::to_string(size) + " values",
                                             "[num_buckets, heads] = [32, 4]"}));
  }
}

TEST(check_policies, t5_table_by_heads_is_named_so) {
  policy_call fits;
  fits.t5.layout = relpos::t5_layout::heads_by_buckets;
  EXPECT_TRUE(fits.run());
  policy_call call;
  call.t5.layout = relpos::t5_layout::heads_by_buckets;
  call.table.pop_back();
  EXPECT_TRUE(
      call.refuses(invalid_shape, {"t5_bias: ", "127 values", "[heads, num_buckets] = [4, 32]"}));
}

TEST(check_policies, t5_buckets_are_even_and_at_least_four_if_bidirectional) {
  for (const index_t count : {index_t{31}, index_t{2}, index_t{0}, index_t{-4}}) {
    policy_call call;
    call.t5.num_buckets = count;
    EXPECT_TRUE(call.refuses(invalid_value, {"t5_bias: num_buckets is " + std::to_string(count),
                                             "even and at least 4"}));
  }
}

TEST(check_policies, t5_buckets_are_even_and_at_least_two_if_unidirectional) {
  policy_call call;
  call.direction = relpos::unidirectional;
  EXPECT_TRUE(call.run());
  for (const index_t count : {index_t{1}, index_t{33}, index_t{0}, index_t{-2}}) {
    policy_call refused;
    refused.direction = relpos::unidirectional;
    refused.t5.num_buckets = count;
    EXPECT_TRUE(refused.refuses(invalid_value, {"t5_bias: num_buckets is " + std::to_string(count),
                                                "even and at least 2"}));
  }
}

// E, the distances that have a bucket each: 8 of 32 if bidirectional, else 16.
TEST(check_policies, t5_max_distance_is_above_the_exact_buckets) {
  for (const index_t distance :
       {index_t{8}, index_t{1}, index_t{0}, index_t{-5}, (index_t{1} << 30) + 1}) {
    policy_call call;
    call.t5.max_distance = distance;
    EXPECT_TRUE(call.refuses(invalid_value,
                             {"t5_bias: max_distance is " + std::to_string(distance), "above 8 "}));
  }
  policy_call smallest;
  smallest.t5.max_distance = 9;
  EXPECT_TRUE(smallest.run());

  policy_call decoder;
  decoder.direction = relpos::unidirectional;
  decoder.t5.max_distance = 16;
  EXPECT_TRUE(decoder.refuses(invalid_value, {"t5_bias: max_distance is 16", "above 16 "}));
}

TEST(check_policies, t5_buckets_beyond_exact_arithmetic_are_refused) {
  policy_call call;
  call.t5.num_buckets = 4096;
  call.t5.max_distance = 1 << 29;
  EXPECT_TRUE(call.refuses(invalid_value, {"t5_bias: ", "4096", "536870912", "exact"}));
}

TEST(check_policies, additive_bias_has_the_shape_of_the_scores_or_is_broadcast) {
  for (std::size_t axis = 0; axis < 4; ++axis) {
    policy_call call;
    call.matrix_view.shape[axis] = 7;
    std::string given;
    for (const index_t extent : call.matrix_view.shape) {
      given += (given.empty() ? "[" : ", ") + std::to_string(extent);
    }
    EXPECT_TRUE(call.refuses(invalid_shape, {"additive_bias: ", given + "]", "[2, 4, 3, 5]"}));
    const bool counts_keys =
        std::string(call.run().message).find("keys are all rows") != std::string::npos;
    EXPECT_EQ(counts_keys, axis == 3);

    policy_call none;
    none.matrix_view.shape[axis] = 0;
    EXPECT_TRUE(none.refuses(invalid_shape, {"additive_bias: ", "[2, 4, 3, 5]"}));

    policy_call broadcast;
    broadcast.matrix_view.shape[axis] = 1;
    EXPECT_TRUE(broadcast.run());
  }
}

TEST(check_policies, additive_bias_has_data) {
  policy_call call;
  call.matrix_view.data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"additive_bias: ", "null"}));
}

TEST(check_policies, data_of_the_right_size_is_not_null) {
  const relpos::attention_shape shape{.batch = 1, .query_heads = 4, .key_heads = 2};
  const std::span<const float> four(static_cast<const float*>(nullptr), 0);
  relpos::borrowed_data null_slopes(four);
  null_slopes.size = 4;
  const relpos::status slopes = relpos::alibi{null_slopes}.check(shape);
  EXPECT_EQ(slopes.code, status_code::null_data);
  EXPECT_STREQ(slopes.message, "alibi: slopes are null for a query of 4 heads");
  relpos::borrowed_data null_table(four);
  null_table.size = 32 * 4;
  const relpos::status table = relpos::t5_bias{null_table, relpos::bidirectional}.check(shape);
  EXPECT_EQ(table.code, status_code::null_data);
  EXPECT_STREQ(table.message, "t5_bias: table is null, must be [num_buckets, heads] = [32, 4]");
}

TEST(check_policies, data_of_policies_is_not_written) {
  policy_call call;
  for (std::vector<float>* const data : {&call.slopes, &call.right, &call.table})
    data->reserve(300);
  call.matrix.resize(300);
  call.matrix_view.data = call.matrix.data();
  for (float* const read : {call.slopes.data() + 3, call.right.data(), call.table.data() + 127,
                            call.matrix.data() + 119}) {
    call.out = view<float, 4>(read, {2, 4, 3, 6});
    EXPECT_TRUE(
        call.refuses(status_code::overlap, {"out: ", "[2, 4, 3, 6]", "the data of a policy"}));
  }
}

TEST(check_policies, band_is_not_negative) {
  policy_call call;
  call.band = relpos::band{-1, 2};
  EXPECT_TRUE(call.refuses(invalid_value, {"band: ", "left is -1", "right is 2"}));
  call.band = relpos::band{3, -4};
  EXPECT_TRUE(call.refuses(invalid_value, {"band: ", "left is 3", "right is -4"}));
  call.band = relpos::band{(index_t{1} << 60) + 1, 0};
  EXPECT_TRUE(call.refuses(invalid_value, {"band: ", "2^60"}));
  call.band = relpos::band{0, std::numeric_limits<index_t>::max()};
  EXPECT_TRUE(call.refuses(invalid_value, {"band: ", "2^60"}));
}

TEST(check_policies, band_reaches_from_nothing_to_everything) {
  policy_call call;
  call.band = relpos::band{0, 0};
  EXPECT_TRUE(call.run());
  call.band = relpos::band{index_t{1} << 60, index_t{1} << 60};
  EXPECT_TRUE(call.run());
}

TEST(check_policies, temperature_is_positive_and_finite) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  for (const double value : {0.0, -0.0, -1.0, infinity, -infinity, std::nan(""), 1e-60, 1e60}) {
    policy_call call;
    call.temperature = relpos::temperature{value};
    EXPECT_TRUE(call.refuses(invalid_value, {"temperature: is ", "positive and finite"}));
  }
}

/// A user's, unchecked by itself; the second head is the one that is wrong.
struct own_temperature {
  float value;
  struct of_head {
    float value;
    float softmax_temperature() const { return value; }
  };
  of_head bind(index_t head) const { return {head == 1 ? value : 1.0f}; }
};

TEST(check_policies, temperatures_of_users_are_checked_for_every_head) {
  for (const float value : {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    attention_call call;
    EXPECT_TRUE(call.refuses(invalid_value, {"temperature: is ", "head 1", "positive and finite"},
                             own_temperature{value}));
  }
}

TEST(check_policies, quotients_of_scale_softcap_and_temperature_are_normal) {
  attention_call cold;
  EXPECT_TRUE(cold.refuses(invalid_value, {"options.scale", "temperature 1e-39", "float32"},
                           own_temperature{1e-39f}));
  attention_call steep;
  steep.opts.scale = 3e38f;
  EXPECT_TRUE(
      steep.refuses(invalid_value, {"options.scale 3e+38", "float32"}, own_temperature{1.0f}));
  attention_call capped;
  capped.opts.softcap = 1e-40f;
  EXPECT_TRUE(capped.refuses(invalid_value, {"options.softcap", "float32"}, own_temperature{1.0f}));
  // 0 would mean no softcap.
  attention_call vanishing;
  vanishing.opts.softcap = 1e-30f;
  EXPECT_TRUE(vanishing.refuses(invalid_value, {"options.softcap 1e-30", "normal"},
                                own_temperature{1e20f}));
  // All scores would be 0.
  attention_call flat;
  flat.opts.scale = 1e-8f;
  flat.opts.softcap = 1e38f;
  EXPECT_TRUE(flat.refuses(invalid_value, {"options.softcap 1e+38"}, own_temperature{1.0f}));
  attention_call hot;
  EXPECT_TRUE(hot.refuses(invalid_value, {"temperature 3e+38", "normal"}, own_temperature{3e38f}));
  attention_call without_scores;
  without_scores.opts.scale = 0.0f;
  EXPECT_TRUE(without_scores.run(own_temperature{1.0f}));
}

}  // namespace
