// A weight below e^-87.33 of the row's largest is exactly zero: never subnormal, and gone
// altogether.

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

constexpr index_t keys = 200;

// So large that the smallest weight shows, and so small that all keys at weight 1 do not overflow.
constexpr float huge = 1e36f;

/// Every row scores key 0 with 0 and all others, whose values are huge, with another score.
struct duel {
  inputs<float> in;
  support::tensor<float> bias{{1, 1, 1, keys}};

  explicit duel(float score_of_faint_keys) {
    in = support::random_inputs({.batch = 1,
                                 .query_heads = 1,
                                 .key_heads = 1,
                                 .query_length = 20,
                                 .key_length = keys,
                                 .head_dim = 4,
                                 .value_dim = 4},
                                23);
    for (float& value : in.q.values) value = 0.0f;
    for (index_t key = 1; key < keys; ++key) {
      bias(0, 0, 0, key) = score_of_faint_keys;
      for (index_t c = 0; c < 4; ++c) in.v(0, 0, key, c) = huge;
    }
  }
  attended<float> run() const { return attend(in, {}, relpos::additive_bias{bias.view()}); }
};

TEST(zero_weights, below_the_cut_a_key_is_absent) {
  const attended<float> absent = duel(-support::infinity).run();
  for (const float score :
       {-87.35f, -87.5f, -90.0f, -95.0f, -100.0f, -103.9f, -104.1f, -1000.0f, -3e38f}) {
    EXPECT_TRUE(same_bits(duel(score).run(), absent)) << score;
  }
}

TEST(zero_weights, above_the_cut_a_key_counts) {
  for (const float score : {-87.3f, -87.0f, -80.0f}) {
    const attended<float> got = duel(score).run();
    for (index_t row = 0; row < 20; ++row) {
      const double weight = std::exp(static_cast<double>(score));
      const double expected = huge * weight * (keys - 1);
      EXPECT_NEAR(got.out(0, 0, row, 0), duel(score).in.v(0, 0, 0, 0) + expected, 3e-5 * expected)
          << score;
    }
  }
}

// The other way round: what was summed before a much larger score came is forgotten altogether.
TEST(zero_weights, a_late_maximum_forgets_what_was_before) {
  for (const index_t winner : {index_t{0}, index_t{77}, index_t{150}, keys - 1}) {
    for (const float lead : {87.35f, 95.0f, 103.0f, 1e4f}) {
      duel late(0.0f);
      duel alone(-support::infinity);
      alone.bias(0, 0, 0, 0) = -support::infinity;
      for (duel* each : {&late, &alone}) {
        each->bias(0, 0, 0, winner) = lead;
        for (index_t c = 0; c < 4; ++c) each->in.v(0, 0, winner, c) = 1e-3f;
      }
      EXPECT_TRUE(same_bits(late.run(), alone.run())) << "key " << winner << " leads by " << lead;
    }
  }
}

}  // namespace
