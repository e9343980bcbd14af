#include "relpos/policy/relative_bias.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sliding_window.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using relpos::relative_bias;
using support::inputs;
using support::meaning;

/// KERPLE's logarithmic kernel, different on the two sides.
double kernel(index_t head, index_t distance) {
  const double r = static_cast<double>(distance < 0 ? -distance : 3 * distance);
  return -(0.5 + static_cast<double>(head)) * std::log1p(0.3 * r);
}

inputs<float> two_heads(index_t queries, index_t keys) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 8,
                                 .value_dim = 8},
                                41);
}

TEST(relative_bias, is_the_function_of_head_and_distance) {
  const inputs<float> in = two_heads(130, 300);
  for (const index_t query_offset : {-400, 0, 85, 170, 700}) {
    expect_means(attend(in, {.query_offset = query_offset}, relative_bias{&kernel}), in,
                 {.bias = kernel, .query_offset = query_offset});
  }
}

TEST(relative_bias, under_a_mask) {
  const inputs<float> in = two_heads(130, 300);
  expect_means(attend(in, {}, relative_bias{&kernel}, relpos::causal{}), in,
               {.bias = kernel,
                .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }});
  expect_means(attend(in, {}, relative_bias{&kernel}, relpos::band{90, 7}), in,
               {.bias = kernel, .visible = [](index_t, index_t q_pos, index_t k_pos) {
                  return q_pos - 90 <= k_pos && k_pos <= q_pos + 7;
                }});
}

/// Counts how often each distance is asked for.
struct questions {
  static constexpr index_t farthest = 1000;
  std::vector<int> times = std::vector<int>(2 * farthest + 1);

  void ask(index_t distance) {
    ASSERT_LE(std::abs(distance), farthest);
    ++times[static_cast<std::size_t>(distance + farthest)];
  }
  /// Every distance of [first, last] was asked for, hardly more than once per head, and no other.
  void expect_only(index_t first, index_t last) const {
    for (index_t distance = -farthest; distance <= farthest; ++distance) {
      const int count = times[static_cast<std::size_t>(distance + farthest)];
      if (first <= distance && distance <= last) {
        EXPECT_TRUE(1 <= count && count <= 3) << distance << " was asked for " << count << " times";
      } else {
        EXPECT_EQ(count, 0) << distance;
      }
    }
  }
};

template <class... Masks>
void expect_asked(const inputs<float>& in, index_t query_offset, index_t first, index_t last,
                  Masks... masks) {
  questions asked;
  const auto function = [&asked](index_t head, index_t distance) {
    if (head == 1) asked.ask(distance);
    return 0.0;
  };
  attend(in, {.query_offset = query_offset}, relative_bias{function}, masks...);
  asked.expect_only(first, last);
}

TEST(relative_bias, asks_only_for_distances_that_some_query_sees) {
  const inputs<float> in = two_heads(100, 300);
  expect_asked(in, 200, -299, 99);
  expect_asked(in, 200, -299, 0, relpos::causal{});
  expect_asked(in, 200, -17, 5, relpos::band{17, 5});
  expect_asked(in, 200, -17, 0, relpos::band{17, 5}, relpos::causal{});
  // Only the first queries see the last keys.
  expect_asked(in, 310, -20, -11, relpos::band{20, 5});
}

TEST(relative_bias, asks_for_nothing_where_nobody_sees_anything) {
  questions asked;
  const auto function = [&asked](index_t, index_t distance) {
    asked.ask(distance);
    return 0.0;
  };
  attend(two_heads(10, 0), {}, relative_bias{function}, relpos::causal{});
  attend(two_heads(10, 20), {.query_offset = 500}, relative_bias{function}, relpos::band{17, 5});
  asked.expect_only(1, 0);
}

}  // namespace
