// The code of 16-lane vectors, on any machine.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/odd_shapes.hpp"
#include "support/reference.hpp"
#include "support/sixteen_lanes.hpp"

namespace {

const std::vector<float> slopes = support::random_tensor({1, 1, 1, 12}, 2, 0.3f).values;

TEST(sixteen_lanes, odd_shapes) {
  for (const auto& list : {support::odd_lengths(), support::odd_channels(), support::odd_heads()}) {
    for (const support::sizes& each : list) {
      const auto in = support::random_inputs(each, 4);
      const std::vector<float> own(slopes.begin(), slopes.begin() + each.query_heads);
      const relpos::options opts{.softcap = 5.0f};
      const relpos::alibi bias{own};
      expect_reference(attend<support::sixteen_lanes>(in, opts, bias, relpos::causal{}), in, opts,
                       bias, relpos::causal{});
    }
  }
}

}  // namespace
