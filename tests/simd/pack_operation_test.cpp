// Every operation of pack against a loop over scalars, on all pairs of special and random values.

#include "relpos/simd/pack.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

namespace {

using limits = std::numeric_limits<float>;

template <class Isa>
class pack_operation : public testing::Test {};
using isas = testing::Types<relpos::native, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(pack_operation, isas);

std::vector<float> float_values() {
  std::vector<float> values{0.0f,
                            -0.0f,
                            1.0f,
                            -1.0f,
                            1.5f,
                            -3.75f,
                            limits::infinity(),
                            -limits::infinity(),
                            limits::quiet_NaN(),
                            limits::max(),
                            limits::lowest(),
                            limits::min(),
                            -limits::min(),
                            limits::denorm_min(),
                            -limits::denorm_min(),
                            limits::min() / 3,
                            16777216.0f};
  std::mt19937 bits(11);
  while (values.size() < 61)
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits())));
  return values;
}

std::vector<std::int32_t> int_values() {
  std::vector<std::int32_t> values{0, 1, -1, 2, -2, 127, (1 << 30) - 1, -(1 << 30)};
  std::mt19937 bits(12);
  // 31 bits: sums and differences of two fit.
  while (values.size() < 37) values.push_back(static_cast<std::int32_t>(bits()) / 2);
  return values;
}

std::vector<std::uint32_t> word_values() {
  std::vector<std::uint32_t> values{0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu};
  std::mt19937 bits(13);
  while (values.size() < 37) values.push_back(static_cast<std::uint32_t>(bits()));
  return values;
}

/// NaN equals NaN, whatever its payload; zeros differ by sign.
template <class T>
bool same(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
  } else {
    return a == b;
  }
}

/// Every pair of `values` meets in some lane: b's lanes are a rotation of the values.
template <class Isa, class T, class OfPacks, class OfScalars>
void expect_lanewise(const std::vector<T>& values, OfPacks of_packs, OfScalars of_scalars) {
  constexpr std::size_t n = relpos::lanes<Isa>;
  const std::size_t count = values.size();
  for (std::size_t rotation = 0; rotation < count; ++rotation) {
    for (std::size_t first = 0; first < count; first += n) {
      std::array<T, n> a, b;
      for (std::size_t i = 0; i < n; ++i) {
        a[i] = values[(first + i) % count];
        b[i] = values[(first + i + rotation) % count];
      }
      using pack = relpos::pack<T, Isa>;
      const auto result = of_packs(pack::load(a.data()), pack::load(b.data()));
      using result_type = std::decay_t<decltype(of_scalars(a[0], b[0]))>;
      std::array<result_type, n> lanes;
      result.store(lanes.data());
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_TRUE(same(lanes[i], of_scalars(a[i], b[i])))
            << "a " << a[i] << ", b " << b[i] << ", got " << lanes[i];
      }
    }
  }
}

template <class Isa>
constexpr bool always_fused =
    std::is_same_v<Isa, relpos::avx2> || std::is_same_v<Isa, relpos::avx512> ||
    std::is_same_v<Isa, relpos::neon>;

std::int32_t mask(bool condition) { return condition ? -1 : 0; }

TYPED_TEST(pack_operation, float_arithmetic) {
  const auto values = float_values();
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a + b; }, [](float a, float b) { return a + b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a - b; }, [](float a, float b) { return a - b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a * b; }, [](float a, float b) { return a * b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a / b; }, [](float a, float b) { return a / b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return -a; }, [](float a, float) { return -a; });
}

TYPED_TEST(pack_operation, float_comparisons) {
  const auto values = float_values();
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a < b; }, [](float a, float b) { return mask(a < b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a <= b; }, [](float a, float b) { return mask(a <= b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a > b; }, [](float a, float b) { return mask(a > b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a >= b; }, [](float a, float b) { return mask(a >= b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a == b; }, [](float a, float b) { return mask(a == b); });
}

TYPED_TEST(pack_operation, max_and_min_give_the_second_unless_the_first_wins) {
  const auto values = float_values();
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return max(a, b); },
      [](float a, float b) { return a > b ? a : b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return min(a, b); },
      [](float a, float b) { return a < b ? a : b; });
}

TYPED_TEST(pack_operation, abs_drops_the_sign) {
  const auto value_of_abs = [](float a, float) { return a == 0.0f ? 0.0f : std::fabs(a); };
  // + 0 makes one zero of the two.
  expect_lanewise<TypeParam>(
      float_values(), [](auto a, auto) { return abs(a) + decltype(a)(0.0f); }, value_of_abs);
}

// Where the processor multiplies and adds at once the result is rounded once. Elsewhere compilers
// may do either.
template <class Isa>
bool is_fma(float result, float a, float b, float c) {
  const volatile float product = a * b;
  return same(result, std::fma(a, b, c)) ||
         (!always_fused<Isa> && same(result, static_cast<float>(product + c)));
}

TYPED_TEST(pack_operation, fma_is_a_times_b_plus_c) {
  const auto values = float_values();
  const auto count = values.size();
  for (const float c : values) {
    for (std::size_t rotation = 0; rotation < count; ++rotation) {
      for (std::size_t i = 0; i < count; ++i) {
        const float a = values[i];
        const float b = values[(i + rotation) % count];
        using floats = relpos::float_pack<TypeParam>;
        std::array<float, floats::size> lanes;
        fma(floats(a), floats(b), floats(c)).store(lanes.data());
        ASSERT_TRUE(is_fma<TypeParam>(lanes.back(), a, b, c)) << a << " * " << b << " + " << c;
      }
    }
  }
}

TYPED_TEST(pack_operation, select_goes_lane_by_lane) {
  expect_lanewise<TypeParam>(
      float_values(), [](auto a, auto b) { return select(a < b, a, b); },
      [](float a, float b) { return a < b ? a : b; });
  expect_lanewise<TypeParam>(
      int_values(), [](auto a, auto b) { return select(a < b, b, a); },
      [](std::int32_t a, std::int32_t b) { return a < b ? b : a; });
}

// Policies are written with plain numbers beside packs.
TYPED_TEST(pack_operation, numbers_stand_for_packs_of_them) {
  const auto values = float_values();
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return max(a, -1.5f); },
      [](float a, float) { return a > -1.5f ? a : -1.5f; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return min(a, 2.5f); },
      [](float a, float) { return a < 2.5f ? a : 2.5f; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return select(a < 0.0f, b, 7.0f); },
      [](float a, float b) { return a < 0.0f ? b : 7.0f; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return 0.3f * a; }, [](float a, float) { return 0.3f * a; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return 1.0f - a; }, [](float a, float) { return 1.0f - a; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return fma(a, 1.0f, 2.0f); },
      [](float a, float) { return a + 2.0f; });
}

TYPED_TEST(pack_operation, evens_and_odds_split_pairs) {
  using real = relpos::float_pack<TypeParam>;
  float pairs[2 * real::size];
  for (int i = 0; i < 2 * real::size; ++i) pairs[i] = static_cast<float>(i);
  float evens[real::size], odds[real::size];
  const real low = real::load(pairs);
  const real high = real::load(pairs + real::size);
  real::evens(low, high).store(evens);
  real::odds(low, high).store(odds);
  for (int i = 0; i < real::size; ++i) {
    EXPECT_EQ(evens[i], static_cast<float>(2 * i));
    EXPECT_EQ(odds[i], static_cast<float>(2 * i + 1));
  }
}

TYPED_TEST(pack_operation, neighbours_are_added_within_fours_and_between_fours) {
  using real = relpos::float_pack<TypeParam>;
  float values[2 * real::size];
  for (int i = 0; i < 2 * real::size; ++i) values[i] = static_cast<float>(i * i);
  const real a = real::load(values);
  const real b = real::load(values + real::size);
  float within[real::size];
  real::add_neighbours(a, b).store(within);
  for (int i = 0; i < real::size; ++i) {
    const int pair = i / 4 * 4 + i % 2 * 2 + (i % 4 < 2 ? 0 : real::size);
    EXPECT_EQ(within[i], values[pair] + values[pair + 1]) << i;
  }
  if constexpr (real::size >= 8) {
    float between[real::size];
    real::add_neighbouring_fours(a, b).store(between);
    for (int i = 0; i < real::size; ++i) {
      const int first = i / 4 * 8 + i % 4;
      EXPECT_EQ(between[i], values[first] + values[first + 4]) << i;
    }
  }
}

TYPED_TEST(pack_operation, int_arithmetic) {
  const auto values = int_values();
  using integer = std::int32_t;
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a + b; }, [](integer a, integer b) { return a + b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a - b; }, [](integer a, integer b) { return a - b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a & b; }, [](integer a, integer b) { return a & b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return -a; }, [](integer a, integer) { return -a; });
}

TYPED_TEST(pack_operation, int_comparisons) {
  const auto values = int_values();
  using integer = std::int32_t;
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a < b; },
      [](integer a, integer b) { return mask(a < b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a <= b; },
      [](integer a, integer b) { return mask(a <= b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a > b; },
      [](integer a, integer b) { return mask(a > b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a >= b; },
      [](integer a, integer b) { return mask(a >= b); });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a == b; },
      [](integer a, integer b) { return mask(a == b); });
}

TYPED_TEST(pack_operation, words_wrap_around) {
  const auto values = word_values();
  using word = std::uint32_t;
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a + b; }, [](word a, word b) { return a + b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a - b; }, [](word a, word b) { return a - b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto b) { return a & b; }, [](word a, word b) { return a & b; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return shift_left(a, 23); }, [](word a, word) { return a << 23; });
  expect_lanewise<TypeParam>(
      values, [](auto a, auto) { return shift_right(a, 4); }, [](word a, word) { return a >> 4; });
}

TYPED_TEST(pack_operation, words_from_bytes) {
  std::array<std::uint8_t, 256> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(7 * i);
  using words = relpos::pack<std::uint32_t, TypeParam>;
  for (std::size_t first = 0; first + words::size <= bytes.size(); ++first) {
    std::array<std::uint32_t, words::size> got;
    words::of_bytes(bytes.data() + first).store(got.data());
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], bytes[first + i]);
  }
}

TYPED_TEST(pack_operation, every_half_in_all_lanes) {
  using floats = relpos::float_pack<TypeParam>;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    relpos::half value;
    value.bits = static_cast<std::uint16_t>(bits);
    std::array<float, floats::size> got;
    floats::broadcast(value).store(got.data());
    for (const float each : got) ASSERT_TRUE(same(each, static_cast<float>(value))) << bits;
  }
}

}  // namespace
