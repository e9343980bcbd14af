// The vector loops compute the same bias as its scalar form, and no bias of a range is above the
// bound that lets its tile be skipped.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "relpos/policy/alibi.hpp"
#include "relpos/policy/alibi_encoder.hpp"
#include "relpos/simd/pack.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;

/// The largest difference that one rounding less can make.
float one_ulp(float value) {
  const float magnitude = std::abs(value);
  return std::nextafter(magnitude, support::infinity) - magnitude;
}

template <class Isa, class Bound>
void expect_lanes(const Bound& bound) {
  using real = relpos::float_pack<Isa>;
  support::random_numbers random(7);
  for (int round = 0; round < 200; ++round) {
    float distances[real::size];
    float biases[real::size];
    for (float& distance : distances) {
      const index_t reach = round % 2 == 0 ? 3 : 100000;
      distance = static_cast<float>(random.between(-reach, reach));
    }
    bound.bias(real::load(distances)).store(biases);
    for (int lane = 0; lane < real::size; ++lane) {
      const float scalar = bound.bias(distances[lane]);
      ASSERT_LE(std::abs(biases[lane] - scalar), one_ulp(scalar)) << "distance " << distances[lane];
    }
  }
}

/// upper_bound is the largest bias of the range, up to rounding.
template <class Bound>
void expect_bound(const Bound& bound) {
  support::random_numbers random(9);
  for (int round = 0; round < 500; ++round) {
    const index_t reach = round % 2 == 0 ? 4 : 400;
    index_t first = random.between(-reach, reach);
    index_t last = random.between(-reach, reach);
    if (last < first) std::swap(first, last);
    double largest = -std::numeric_limits<double>::infinity();
    for (index_t distance = first; distance <= last; ++distance) {
      largest = std::max<double>(largest, bound.bias(static_cast<double>(distance)));
    }
    ASSERT_NEAR(bound.upper_bound(first, last), largest, 1e-6 * std::abs(largest))
        << "distances " << first << " to " << last;
  }
}

template <class Bound>
void expect_scaled(const Bound& bound) {
  for (const float distance : {-1000.0f, -3.0f, -1.0f, 0.0f, 1.0f, 2.0f, 500.0f}) {
    const double scaled = bound.scaled(1.44f).bias(static_cast<double>(distance));
    const double exact = double{1.44f} * bound.bias(static_cast<double>(distance));
    EXPECT_NEAR(scaled, exact, 1e-6 * std::abs(exact));
  }
}

template <class Bound>
void expect_sound(const Bound& bound) {
  expect_lanes<relpos::native>(bound);
  expect_lanes<relpos::generic<16>>(bound);
  expect_bound(bound);
  expect_scaled(bound);
}

const std::vector<float> slopes{0.5f, 0.0f, -0.3f, 1e-3f, 40.0f, 0.1f};
const std::vector<float> right_slopes{0.1f, 0.7f, 0.0f, -0.2f, 3.0f, 0.1f};

template <class Policy>
void expect_sound_heads(const Policy& policy) {
  for (index_t head = 0; head < 6; ++head) {
    SCOPED_TRACE("head " + std::to_string(head));
    expect_sound(policy.bind(head));
  }
}

TEST(lanes, alibi) {
  expect_sound_heads(relpos::alibi{slopes});
  expect_sound_heads(relpos::alibi{slopes, 0.35f});
}
TEST(lanes, alibi_symmetric) { expect_sound_heads(relpos::alibi_symmetric{slopes}); }
TEST(lanes, alibi_two_sided) { expect_sound_heads(relpos::alibi_two_sided{slopes, right_slopes}); }
TEST(lanes, alibi_offset) { expect_sound_heads(relpos::alibi_offset{slopes, 0.35f}); }

TEST(lanes, alibi_one_sided) {
  const relpos::alibi_one_sided policy{slopes};
  for (index_t head = 0; head < 6; ++head) {
    const auto bound = policy.bind(head);
    expect_lanes<relpos::native>(bound);
    expect_bound(bound);
  }
}

}  // namespace
