#include "relpos/simd/exp2.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "simd/ulp.hpp"

#if defined(__SSE__)
#include <immintrin.h>
#endif

namespace {

using limits = std::numeric_limits<float>;
using relpos_test::append_around;
using relpos_test::append_sweep;
using relpos_test::ulp_error;

template <class Isa>
std::vector<float> exp2_by(const std::vector<float>& xs) {
  return relpos_test::by_packs<Isa>(xs, [](auto x) { return relpos::exp2<Isa>(x); });
}

template <class Isa>
class exp2_of : public testing::Test {};
using isas = testing::Types<relpos::native, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(exp2_of, isas);

/// Where the rounding of x to an integer changes, where the result is a power of two.
std::vector<float> corners() {
  std::vector<float> xs;
  for (int twice = -252; twice <= 254; ++twice)
    append_around(xs, static_cast<float>(twice) / 2, 40);
  std::erase_if(xs, [](float x) { return x < -126.0f || x > 127.0f; });
  append_around(xs, 0.0f, 2000);  // subnormal
  return xs;
}

/// Floats of all magnitudes between -126 and 127.
std::vector<float> sweep() {
  std::vector<float> xs;
  append_sweep(xs, -0.0f, -126.0f, 1499);
  append_sweep(xs, 0.0f, 127.0f, 1499);
  return xs;
}

template <class Isa>
void expect_two_ulp(const std::vector<float>& xs) {
  const std::vector<float> results = exp2_by<Isa>(xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double exact = std::exp2(static_cast<double>(xs[i]));
    ASSERT_LE(ulp_error(results[i], exact), 2.0) << std::hexfloat << xs[i];
  }
}

TYPED_TEST(exp2_of, is_within_two_ulp_at_corners) { expect_two_ulp<TypeParam>(corners()); }

TYPED_TEST(exp2_of, is_within_two_ulp_over_the_bit_space) { expect_two_ulp<TypeParam>(sweep()); }

TYPED_TEST(exp2_of, integers_give_exact_powers) {
  std::vector<float> xs;
  for (int n = -126; n <= 127; ++n) xs.push_back(static_cast<float>(n));
  const std::vector<float> results = exp2_by<TypeParam>(xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    EXPECT_EQ(results[i], std::ldexp(1.0f, static_cast<int>(xs[i])));
  }
}

TYPED_TEST(exp2_of, zero_gives_one) {
  for (const float result : exp2_by<TypeParam>({0.0f, -0.0f})) EXPECT_EQ(result, 1.0f);
}

TYPED_TEST(exp2_of, below_the_cut_is_exactly_zero) {
  std::vector<float> xs{-limits::infinity(), limits::lowest(), -1e30f, -16777216.0f, -12582912.0f};
  append_sweep(xs, std::nextafter(-126.0f, -200.0f), -limits::infinity(), 4999);
  for (int twice = -1000; twice < -252; ++twice)
    append_around(xs, static_cast<float>(twice) / 2, 20);
  std::erase_if(xs, [](float x) { return x >= -126.0f; });
  const std::vector<float> results = exp2_by<TypeParam>(xs);
  for (std::size_t i = 0; i < xs.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(results[i]), 0u) << std::hexfloat << xs[i];
  }
}

TYPED_TEST(exp2_of, is_never_subnormal) {
  std::vector<float> xs;
  append_around(xs, -126.0f, 5000);
  append_sweep(xs, -120.0f, -160.0f, 7);
  for (const float result : exp2_by<TypeParam>(xs)) {
    ASSERT_TRUE(result == 0.0f || result >= limits::min()) << std::hexfloat << result;
  }
}

TYPED_TEST(exp2_of, nan_stays_nan) {
  std::vector<float> xs;
  for (const std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xffffffffu}) {
    xs.push_back(std::bit_cast<float>(bits));
  }
  for (const float result : exp2_by<TypeParam>(xs)) EXPECT_TRUE(std::isnan(result));
}

TYPED_TEST(exp2_of, lanes_do_not_disturb_each_other) {
  constexpr auto n = static_cast<std::size_t>(relpos::lanes<TypeParam>);
  for (std::size_t lane = 0; lane < n; ++lane) {
    std::vector<float> xs(n, -limits::infinity());
    xs[lane] = 3.0f;
    xs[(lane + 1) % n] = limits::quiet_NaN();
    const std::vector<float> results = exp2_by<TypeParam>(xs);
    EXPECT_EQ(results[lane], 8.0f);
    EXPECT_EQ(results[(lane + 2) % n], 0.0f);
  }
}

#if defined(__SSE__)
/// Results and operands that are subnormal become zero (FTZ, DAZ), as inference servers set it.
class flushing {
 public:
  flushing() { _mm_setcsr(saved_ | 0x8040u); }
  ~flushing() { _mm_setcsr(saved_); }
  flushing(const flushing&) = delete;

 private:
  unsigned saved_ = _mm_getcsr();
};

TYPED_TEST(exp2_of, does_not_depend_on_the_flush_modes) {
  std::vector<float> xs = corners();
  append_around(xs, -126.0f, 3000);
  append_sweep(xs, -0.0f, -limits::infinity(), 9973);
  append_sweep(xs, 0.0f, 127.0f, 9973);
  const std::vector<float> plain = exp2_by<TypeParam>(xs);
  std::vector<float> flushed;
  {
    const flushing modes;
    flushed = exp2_by<TypeParam>(xs);
  }
  for (std::size_t i = 0; i < xs.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(flushed[i]), std::bit_cast<std::uint32_t>(plain[i]))
        << std::hexfloat << xs[i];
  }
}
#endif

}  // namespace
