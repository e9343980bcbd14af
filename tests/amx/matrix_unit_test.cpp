// The matrix unit of this program against plain arrays, which define it, bit by bit.

#include "relpos/simd/bfloat16/matrix_unit.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "relpos/simd/bfloat16/amx.hpp"

namespace {

using relpos::bfloat16;
using relpos::bfloat16_pair;
using relpos::index_t;

constexpr index_t columns = 48;

struct matrices {
  index_t a_stride = 16;
  index_t b_stride = columns;
  std::vector<bfloat16_pair> a = std::vector<bfloat16_pair>(16 * 16);
  std::vector<bfloat16_pair> b = std::vector<bfloat16_pair>(16 * columns);
};

template <class Number>
matrices filled_with(const Number& number, index_t a_stride = 16, index_t b_stride = columns) {
  matrices result{a_stride, b_stride, {}, {}};
  result.a.resize(static_cast<std::size_t>(16 * a_stride));
  result.b.resize(static_cast<std::size_t>(16 * b_stride));
  for (auto* operand : {&result.a, &result.b}) {
    for (bfloat16_pair& pair : *operand) pair = {bfloat16(number()), bfloat16(number())};
  }
  return result;
}

/// The sums of one product after another, of the vectors [First, Last).
template <class Unit, int First = 0, int Last = 3>
std::vector<float> sums_of(Unit& unit, const std::vector<matrices>& products) {
  unit.template clear<First, Last>();
  for (const matrices& of : products) {
    unit.template multiply<First, Last>(of.a.data(), of.a_stride, of.b.data(), of.b_stride);
  }
  std::vector<float> out(16 * (columns + 5), -7.0f);
  unit.template store<First, Last>(out.data(), columns + 5);
  return out;
}

bool same_bits(const std::vector<float>& x, const std::vector<float>& y) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) && std::isnan(y[i])) continue;
    if (std::memcmp(&x[i], &y[i], sizeof x[i]) != 0) return false;
  }
  return true;
}

using plain_arrays = relpos::matrix_unit<relpos::generic<16, true>>;

class matrix_unit : public testing::Test {
 protected:
  void SetUp() override {
    const relpos::status permitted = relpos::matrix_unit<relpos::avx512>::permission();
    if (!permitted) GTEST_SKIP() << permitted.message;
  }
};

// Numbers whose products and sums are exact, so that neither order nor rounding matters.
TEST_F(matrix_unit, multiplies_matrices) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> small(-8, 8);
  const matrices of = filled_with([&] { return static_cast<float>(small(random)); });
  relpos::matrix_unit<relpos::avx512> unit;
  plain_arrays arrays;
  const auto by_unit = sums_of(unit, {of, of});
  const auto by_arrays = sums_of(arrays, {of, of});
  for (index_t i = 0; i < 16; ++i) {
    for (index_t j = 0; j < columns + 5; ++j) {
      float sum = j < columns ? 0.0f : -7.0f;
      for (index_t k = 0; k < 16 && j < columns; ++k) {
        const auto& x = of.a[static_cast<std::size_t>(i * 16 + k)];
        const auto& y = of.b[static_cast<std::size_t>(k * columns + j)];
        sum += 2.0f * (static_cast<float>(x.first) * static_cast<float>(y.first) +
                       static_cast<float>(x.second) * static_cast<float>(y.second));
      }
      const auto place = static_cast<std::size_t>(i * (columns + 5) + j);
      ASSERT_EQ(by_unit[place], sum) << i << ' ' << j;
      ASSERT_EQ(by_arrays[place], sum) << i << ' ' << j;
    }
  }
}

TEST_F(matrix_unit, rounds_as_defined) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> exponent(-70, 10);
  relpos::matrix_unit<relpos::avx512> unit;
  plain_arrays arrays;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto of_one_size = [&] { return normal(random); };
    const auto of_all_sizes = [&] { return std::ldexp(normal(random), exponent(random)); };
    const std::vector<matrices> products{filled_with(of_one_size),
                                         filled_with(of_all_sizes, 19, 50),
                                         filled_with(of_one_size, 16, 77)};
    ASSERT_TRUE(same_bits(sums_of(unit, products), sums_of(arrays, products)));
  }
}

// Products and sums below the smallest normal number, zeros of both signs, infinities.
TEST_F(matrix_unit, special_numbers) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const float numbers[] = {0.0f,       -0.0f,       0x1p-130f, -0x1p-130f, 0x1p-63f, -0x1.8p-64f,
                           0x1.1p-66f, -0x1.3p-62f, 0x1p-126f, 1.0f,       -1.0f};
  std::mt19937 random(3);
  const auto any_of = [&](std::size_t count) {
    return numbers[std::uniform_int_distribution<std::size_t>(0, count - 1)(random)];
  };
  relpos::matrix_unit<relpos::avx512> unit;
  plain_arrays arrays;
  for (int repeat = 0; repeat < 20; ++repeat) {
    const std::size_t count = repeat % 2 == 0 ? 9 : std::size(numbers);
    std::vector<matrices> products{filled_with([&] { return any_of(count); }),
                                   filled_with([&] { return any_of(count); })};
    ASSERT_TRUE(same_bits(sums_of(unit, products), sums_of(arrays, products)));
    products[0].a[5].first = bfloat16(infinity);
    products[1].b[70].second = bfloat16(-infinity);
    ASSERT_TRUE(same_bits(sums_of(unit, products), sums_of(arrays, products)));
  }
}

TEST_F(matrix_unit, leaves_other_vectors_alone) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  const std::vector<matrices> products{filled_with([&] { return normal(random); })};
  relpos::matrix_unit<relpos::avx512> unit;
  plain_arrays arrays;
  const auto all = sums_of(unit, products);
  const auto some = sums_of<relpos::matrix_unit<relpos::avx512>, 1, 2>(unit, products);
  ASSERT_TRUE(same_bits(some, sums_of<plain_arrays, 1, 2>(arrays, products)));
  for (index_t j = 0; j < columns; ++j) {
    const auto place = static_cast<std::size_t>(j);
    ASSERT_EQ(some[place], 16 <= j && j < 32 ? all[place] : -7.0f);
  }
}

}  // namespace
