// Temperatures from statistics of the fused pass, against means over the probabilities of each row.

#include "relpos/align_temperatures.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "relpos/policies.hpp"
#include "support/naive.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;
using relpos::sharpness;
using support::inputs;
using support::meaning;

inputs<float> of_length(index_t length, std::uint32_t seed) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = length,
                                 .key_length = length,
                                 .head_dim = 16,
                                 .value_dim = 1},
                                seed, 6.0f);
}

bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

/// The mean of one head over the rows that see at least half of the keys.
double mean_of(const inputs<float>& in, const meaning& means, sharpness what, index_t head) {
  const auto rows = naive_attention<double>(in, means).statistics;
  const index_t length = in.q.shape[2];
  double sum = 0.0;
  double count = 0.0;
  for (index_t i = 0; i < static_cast<index_t>(rows.entropy.size()); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (i / length % 2 != head || 2.0 * rows.logit_count[at] < static_cast<double>(length))
      continue;
    sum += what == sharpness::entropy ? rows.entropy[at] : std::log(rows.max_probability[at]);
    count += 1.0;
  }
  return sum / count;
}

template <class... Policies>
void expect_aligned(const meaning& means, const Policies&... policies) {
  const inputs<float> trained = of_length(60, 3);
  const inputs<float> longer = of_length(240, 4);
  for (const sharpness what : {sharpness::entropy, sharpness::max_probability}) {
    std::vector<double> targets(2);
    ASSERT_TRUE(relpos::measure_sharpness(relpos::serial{}, what, targets, trained.q.view(),
                                          trained.k.view(), policies...));
    std::vector<float> temperatures(2);
    ASSERT_TRUE(relpos::align_temperatures(relpos::serial{}, what, targets, temperatures,
                                           longer.q.view(), longer.k.view(), policies...));
    for (const index_t head : {0, 1}) {
      const auto at = static_cast<std::size_t>(head);
      EXPECT_NEAR(targets[at], mean_of(trained, means, what, head), 1e-5);
      EXPECT_GT(temperatures[at], 0.1f);
      EXPECT_LT(temperatures[at], 0.999f);
      meaning warmed = means;
      warmed.temperature = temperatures[at];
      EXPECT_NEAR(mean_of(longer, warmed, what, head), targets[at], 2e-5);
    }
  }
}

TEST(align_temperatures, restores_bidirectional_attention) { expect_aligned({}); }
TEST(align_temperatures, restores_causal_attention) {
  expect_aligned({.visible = is_causal}, relpos::causal{});
}

TEST(align_temperatures, of_all_heads_together) {
  const inputs<float> trained = of_length(60, 3);
  const inputs<float> longer = of_length(240, 4);
  std::vector<double> target(1);
  ASSERT_TRUE(relpos::measure_sharpness(relpos::serial{}, sharpness::entropy, target,
                                        trained.q.view(), trained.k.view()));
  const auto both = [](const inputs<float>& in, const meaning& means) {
    return 0.5 *
           (mean_of(in, means, sharpness::entropy, 0) + mean_of(in, means, sharpness::entropy, 1));
  };
  EXPECT_NEAR(target[0], both(trained, {}), 1e-5);
  std::vector<float> temperature(1);
  ASSERT_TRUE(relpos::align_temperatures(relpos::serial{}, sharpness::entropy, target, temperature,
                                         longer.q.view(), longer.k.view()));
  EXPECT_NEAR(both(longer, {.temperature = temperature[0]}), target[0], 2e-5);
}

TEST(align_temperatures, stops_at_the_ends_of_its_range) {
  const inputs<float> in = of_length(60, 5);
  std::vector<double> targets{0.0, 100.0};  // sharper than any, and flatter than at 1
  std::vector<float> temperatures(2);
  ASSERT_TRUE(relpos::align_temperatures(relpos::serial{}, sharpness::entropy, targets,
                                         temperatures, in.q.view(), in.k.view()));
  EXPECT_NEAR(temperatures[0], 1.0 / 64.0, 1e-6);
  EXPECT_EQ(temperatures[1], 1.0f);
}

TEST(align_temperatures, refuses_what_does_not_fit) {
  const inputs<float> in = of_length(10, 6);
  std::vector<double> three(3);
  std::vector<float> temperatures(2);
  EXPECT_STREQ(relpos::measure_sharpness(relpos::serial{}, sharpness::entropy, three, in.q.view(),
                                         in.k.view())
                   .message,
               "of_heads: has 3 elements, must have 1, or 2, one per query head");
  EXPECT_STREQ(relpos::align_temperatures(relpos::serial{}, sharpness::entropy, three, temperatures,
                                          in.q.view(), in.k.view())
                   .message,
               "temperatures: has 2 elements, must have one per target, 3");
  const auto k = in.k.view().slice(3, 0, 8);
  std::vector<double> two(2);
  const relpos::status done =
      relpos::measure_sharpness(relpos::serial{}, sharpness::entropy, two, in.q.view(), k);
  EXPECT_EQ(done.code, relpos::status_code::invalid_shape);
}

TEST(align_temperatures, refuses_what_is_not_a_number) {
  inputs<float> in = of_length(10, 7);
  std::vector<double> targets{1.0, std::nan("")};
  std::vector<float> temperatures(2);
  const auto refusal = [&](const auto&... policies) {
    return std::string(relpos::align_temperatures(relpos::serial{}, sharpness::entropy, targets,
                                                  temperatures, in.q.view(), in.k.view(),
                                                  policies...)
                           .message);
  };
  EXPECT_EQ(refusal(), "targets: has nan at 1, must be finite");
  targets[1] = 1.0;
  const char* const no_number =
      "q, k: the sharpness of head 0 is NaN: no row sees a key, or a row holds NaN or infinity";
  EXPECT_EQ(refusal(relpos::causal{}, relpos::options{.query_offset = -100}), no_number);
  in.k(0, 0, 9, 0) = support::not_a_number;
  EXPECT_EQ(refusal(), no_number);
}

}  // namespace
