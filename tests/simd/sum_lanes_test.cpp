// The sums of many packs at once, one in each lane, and packs backwards.

#include <gtest/gtest.h>

#include <bit>
#include <random>
#include <vector>

#include "relpos/cpu/decode/micro_kernel.hpp"

namespace {

template <class Isa>
class sum_lanes_of : public testing::Test {};
using isas =
    testing::Types<relpos::native, relpos::vector128, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(sum_lanes_of, isas);

/// values[part][lane] to one sum per part.
template <class Isa>
std::vector<float> sums_of(const std::vector<std::vector<float>>& values) {
  relpos::float_pack<Isa> parts[relpos::lanes<Isa>];
  for (std::size_t i = 0; i < values.size(); ++i) {
    parts[i] = relpos::float_pack<Isa>::load(values[i].data());
  }
  std::vector<float> result(values.size());
  relpos::sum_lanes<Isa>(parts).store(result.data());
  return result;
}

std::vector<std::vector<float>> filled(std::size_t n, float value) {
  return std::vector<std::vector<float>>(n, std::vector<float>(n, value));
}

TYPED_TEST(sum_lanes_of, each_lane_of_each_part_counts_once_and_in_its_own_sum) {
  constexpr std::size_t n = relpos::lanes<TypeParam>;
  for (std::size_t part = 0; part < n; ++part) {
    for (std::size_t lane = 0; lane < n; ++lane) {
      auto values = filled(n, 0.0f);
      values[part][lane] = 3.0f;
      std::vector<float> wanted(n, 0.0f);
      wanted[part] = 3.0f;
      EXPECT_EQ(sums_of<TypeParam>(values), wanted) << "part " << part << ", lane " << lane;
    }
  }
}

TYPED_TEST(sum_lanes_of, small_integers_are_exact) {
  constexpr int n = relpos::lanes<TypeParam>;
  auto values = filled(n, 0.0f);
  std::vector<float> wanted;
  for (int part = 0; part < n; ++part) {
    for (int lane = 0; lane < n; ++lane) {
      values[static_cast<std::size_t>(part)][static_cast<std::size_t>(lane)] =
          static_cast<float>(1000 * part - 7 * lane);
    }
    wanted.push_back(static_cast<float>(1000 * part * n - 7 * n * (n - 1) / 2));
  }
  EXPECT_EQ(sums_of<TypeParam>(values), wanted);
}

/// Neighbours first: ((a + b) + (c + d)) + ...
float sum_of_neighbours(std::vector<float> of) {
  for (std::size_t count = of.size(); count > 1; count /= 2) {
    for (std::size_t i = 0; i < count / 2; ++i) of[i] = of[2 * i] + of[2 * i + 1];
  }
  return of[0];
}

TYPED_TEST(sum_lanes_of, has_the_same_bits_at_any_place_beside_any_others) {
  constexpr std::size_t n = relpos::lanes<TypeParam>;
  std::mt19937 random(5);
  const auto number = [&] { return static_cast<float>(random()) * 0x1p-20f - 1900.0f; };
  std::vector<float> one(n);
  for (float& value : one) value = number();
  const auto wanted = std::bit_cast<int>(sum_of_neighbours(one));
  for (std::size_t place = 0; place < n; ++place) {
    auto values = filled(n, 0.0f);
    for (auto& part : values) {
      for (float& value : part) value = number();
    }
    values[place] = one;
    EXPECT_EQ(std::bit_cast<int>(sums_of<TypeParam>(values)[place]), wanted) << place;
  }
}

TYPED_TEST(sum_lanes_of, nan_stays_in_its_own_sum) {
  constexpr std::size_t n = relpos::lanes<TypeParam>;
  for (std::size_t part = 0; part < n; ++part) {
    auto values = filled(n, 1.0f);
    values[part][n - 1] = std::bit_cast<float>(0x7fc00000);
    const std::vector<float> got = sums_of<TypeParam>(values);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(got[i] == static_cast<float>(n), i != part) << part << ", " << i;
    }
  }
}

template <class T, class Isa>
void expect_reversed() {
  constexpr int n = relpos::lanes<Isa>;
  T values[n];
  for (int i = 0; i < n; ++i) values[i] = static_cast<T>(5 * i + 1);
  T backwards[n];
  T forwards[n];
  const auto pack = relpos::pack<T, Isa>::load(values);
  reversed(pack).store(backwards);
  reversed(reversed(pack)).store(forwards);
  for (int i = 0; i < n; ++i) {
    EXPECT_EQ(backwards[i], values[n - 1 - i]);
    EXPECT_EQ(forwards[i], values[i]);
  }
}

TYPED_TEST(sum_lanes_of, reversed_has_the_last_lane_first) {
  expect_reversed<float, TypeParam>();
  expect_reversed<std::int32_t, TypeParam>();
}

}  // namespace
