// options.tolerance leaves out keys, and no more of them than it allows.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "relpos/policies.hpp"
#include "support/attend.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

constexpr index_t length = 1500;
constexpr index_t queries = 400;

/// One channel, so that |q| |k| is the score itself and the bound is tight.
inputs<float> narrow_inputs(index_t heads) {
  inputs<float> in = support::random_inputs({.batch = 1,
                                             .query_heads = heads,
                                             .key_heads = 1,
                                             .query_length = queries,
                                             .key_length = length,
                                             .head_dim = 1,
                                             .value_dim = 1},
                                            29, 1.0f);
  for (float& key : in.k.values) key = 0.1f * std::abs(key);
  for (float& query : in.q.values) query = std::abs(query);
  return in;
}

template <class... Policies>
attended<float> attend_with(float tolerance, relpos::options opts, const inputs<float>& in,
                            const Policies&... policies) {
  opts.tolerance = tolerance;
  return attend(in, opts, policies...);
}

// The weights of the keys that are 800 to 1200 away are e^-40 to e^-60, and not zero.
TEST(tolerance, leaves_out_negligible_keys) {
  const std::vector<float> slopes{0.05f};
  const relpos::alibi alibi{slopes};
  const relpos::causal mask;
  inputs<float> in = narrow_inputs(1);
  in.v(0, 0, 300, 0) = std::numeric_limits<float>::quiet_NaN();
  support::tensor<float, 3> count({1, 1, queries});
  const relpos::options with_moments{.statistics = {.logit_count = count.view()}};

  const attended<float> all = attend_with(0.0f, {}, in, alibi, mask);
  const attended<float> some = attend_with(1e-6f, {}, in, alibi, mask);
  const attended<float> counted = attend_with(1e-6f, with_moments, in, alibi, mask);
  for (index_t row = 0; row < queries; ++row) {
    EXPECT_TRUE(std::isnan(all.out(0, 0, row, 0))) << row;
    EXPECT_TRUE(std::isfinite(some.out(0, 0, row, 0))) << row;
    EXPECT_TRUE(std::isnan(counted.out(0, 0, row, 0))) << row;
    EXPECT_EQ(count(0, 0, row), static_cast<float>(length - queries + row + 1));
  }
}

/// Values are 1 where they are far, and 0 elsewhere: the output is the far share of a row's
/// weights.
template <class... Policies>
void expect_not_exceeded(const relpos::options& opts, const Policies&... policies) {
  constexpr index_t heads = 6;
  inputs<float> in = narrow_inputs(heads);
  for (index_t row = 0; row < length; ++row) in.v(0, 0, row, 0) = row < 1000 ? 1.0f : 0.0f;

  const attended<float> exact = attend_with(0.0f, opts, in, policies...);
  for (const float tolerance : {1e-3f, 1e-5f, 1e-7f}) {
    const attended<float> got = attend_with(tolerance, opts, in, policies...);
    float largest = 0.0f;
    for (index_t head = 0; head < heads; ++head) {
      for (index_t row = 0; row < queries; ++row) {
        const float share = exact.out(0, head, row, 0);
        const float rounding = 0x1p-20f * share;
        const float missing = share - got.out(0, head, row, 0);
        EXPECT_GE(missing, -rounding);
        EXPECT_LE(missing, tolerance + rounding) << "head " << head << ", row " << row;
        EXPECT_NEAR(got.lse(0, head, row), exact.lse(0, head, row), tolerance + 2e-6f);
        if (missing > rounding) largest = std::max(largest, missing);
      }
    }
    EXPECT_GE(largest, 0.01f * tolerance) << "next to nothing is left out at " << tolerance;
  }
}

TEST(tolerance, is_not_exceeded) {
  const std::vector<float> slopes{0.03f, 0.02f, 0.014f, 0.01f, 0.007f, 0.005f};
  expect_not_exceeded({}, relpos::alibi{slopes}, relpos::causal{});
  expect_not_exceeded({.softcap = 2.0f}, relpos::alibi{slopes}, relpos::causal{});
  expect_not_exceeded({}, relpos::alibi_symmetric{slopes});
  expect_not_exceeded({}, relpos::alibi{slopes}, relpos::causal{}, relpos::temperature{0.5});
}

}  // namespace
