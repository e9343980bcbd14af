#include "relpos/policy/temperature.hpp"

#include <gtest/gtest.h>

#include "relpos/policy/alibi.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using relpos::temperature;
using support::inputs;
using support::meaning;

const std::vector<float> slopes{0.3f, 0.02f};

inputs<float> two_heads() {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = 60,
                                 .key_length = 200,
                                 .head_dim = 16,
                                 .value_dim = 8},
                                71);
}

meaning causal_lines(double softcap, double degrees) {
  return {.bias =
              [](index_t head, index_t distance) {
                return slopes[static_cast<std::size_t>(head)] * static_cast<double>(distance);
              },
          .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
          .softcap = softcap,
          .temperature = degrees};
}

TEST(temperature, divides_score_and_bias) {
  const inputs<float> in = two_heads();
  for (const float degrees : {0.05f, 0.85f, 1.0f, 7.0f}) {
    expect_means(attend(in, {}, relpos::alibi{slopes}, relpos::causal{}, temperature{degrees}), in,
                 causal_lines(0.0, degrees));
  }
}

TEST(temperature, softcap_comes_before_bias_and_temperature) {
  const inputs<float> in = two_heads();
  for (const float cap : {0.1f, 1.5f, 30.0f}) {
    for (const float degrees : {0.5f, 1.0f, 3.0f}) {
      expect_means(attend(in, {.softcap = cap}, relpos::alibi{slopes}, relpos::causal{},
                          temperature{degrees}),
                   in, causal_lines(cap, degrees));
    }
  }
}

TEST(head_temperature, divides_the_scores_of_its_head) {
  const inputs<float> in = two_heads();
  const std::vector<float> values{0.4f, 3.0f};
  const auto got =
      attend(in, {}, relpos::alibi{slopes}, relpos::causal{}, relpos::head_temperature{values});
  for (index_t head = 0; head < 2; ++head) {
    const float degrees = values[static_cast<std::size_t>(head)];
    const auto alone =
        attend(in, {}, relpos::alibi{slopes}, relpos::causal{}, temperature{degrees});
    for (index_t row = 0; row < 60; ++row) {
      EXPECT_EQ(got.lse(0, head, row), alone.lse(0, head, row));
      for (index_t c = 0; c < 8; ++c)
        EXPECT_EQ(got.out(0, head, row, c), alone.out(0, head, row, c));
    }
  }
}

TEST(head_temperature, has_a_value_for_each_head) {
  const relpos::attention_shape shape{.batch = 1, .query_heads = 2, .key_heads = 2};
  const std::vector<float> three(3, 1.0f);
  EXPECT_STREQ(relpos::head_temperature{three}.check(shape).message,
               "head_temperature: 3 values for a query of 2 heads");
  relpos::head_temperature null{three};
  null.values.data = nullptr;
  null.values.size = 2;
  EXPECT_EQ(null.check(shape).code, relpos::status_code::null_data);
}

TEST(temperature, one_is_none) {
  const inputs<float> in = two_heads();
  for (const float cap : {0.0f, 2.0f}) {
    EXPECT_TRUE(same_bits(
        attend(in, {.softcap = cap}, relpos::alibi{slopes}, relpos::causal{}),
        attend(in, {.softcap = cap}, relpos::alibi{slopes}, relpos::causal{}, temperature{1})));
  }
}

TEST(softcap, zero_is_none) {
  const inputs<float> in = two_heads();
  EXPECT_TRUE(same_bits(attend(in, {.softcap = 0.0f}, relpos::alibi{slopes}, relpos::causal{}),
                        attend(in, {}, relpos::alibi{slopes}, relpos::causal{})));
}

TEST(softcap, bounds_the_scores) {
  inputs<float> in = two_heads();
  for (float& value : in.q.values) value *= 1000.0f;
  meaning means = causal_lines(2.0, 1.0);
  means.bias = nullptr;
  means.visible = nullptr;
  expect_means(attend(in, {.softcap = 2.0f}, temperature{1.0f}), in, means);
}

}  // namespace
