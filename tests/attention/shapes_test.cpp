// Odd sizes against the reference in double.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/odd_shapes.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::sizes;

// One data set per head of the largest call.
const std::vector<float> slopes = support::random_tensor({1, 1, 1, 12}, 2, 0.3f).values;
const std::vector<float> table = support::random_tensor({1, 1, 32, 12}, 3, 2.0f).values;

template <class... Policies>
void expect_shape(const sizes& of, const relpos::options& opts, const Policies&... policies) {
  SCOPED_TRACE(testing::Message() << "batch " << of.batch << ", heads " << of.query_heads << "/"
                                  << of.key_heads << ", " << of.query_length << " queries, "
                                  << of.key_length << " keys, channels " << of.head_dim << "/"
                                  << of.value_dim);
  const auto in = support::random_inputs(of, static_cast<std::uint32_t>(of.query_length));
  expect_reference_of(in, opts, policies...);
}

class shapes : public testing::TestWithParam<std::vector<sizes>> {};

TEST_P(shapes, plain) {
  for (const sizes& each : GetParam()) expect_shape(each, {});
}

TEST_P(shapes, softcap) {
  for (const sizes& each : GetParam()) expect_shape(each, {.softcap = 1.5f});
}

TEST_P(shapes, computed_bias_and_causal) {
  for (const sizes& each : GetParam()) {
    const std::vector<float> own(slopes.begin(), slopes.begin() + each.query_heads);
    expect_shape(each, {.scale = 0.4f}, relpos::alibi{own}, relpos::causal{});
  }
}

TEST_P(shapes, tabulated_bias_in_a_band) {
  for (const sizes& each : GetParam()) {
    const std::vector<float> own(table.begin(), table.begin() + 32 * each.query_heads);
    expect_shape(each, {.scale = 0.2f, .query_offset = 20, .key_offset = 10},
                 relpos::t5_bias{own, relpos::bidirectional}, relpos::band{21, 30},
                 relpos::temperature{0.8f});
  }
}

std::string name_of(const testing::TestParamInfo<std::vector<sizes>>& info) {
  return std::array{"lengths", "channels", "heads"}[info.index];
}

INSTANTIATE_TEST_SUITE_P(odd, shapes,
                         testing::Values(support::odd_lengths(), support::odd_channels(),
                                         support::odd_heads()),
                         name_of);

}  // namespace
