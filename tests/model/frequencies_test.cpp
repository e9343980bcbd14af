#include "relpos/model/frequencies.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace {

using relpos::index_t;
using relpos::rotary_frequencies;

constexpr double pi = 3.14159265358979323846;

/// theta_i of the paper.
double theta(index_t i, index_t d, double base) {
  return std::exp(-2.0 * static_cast<double>(i) / static_cast<double>(d) * std::log(base));
}

void expect_radians(const rotary_frequencies& got, const std::vector<double>& wanted) {
  ASSERT_EQ(got.radians.size(), wanted.size());
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_NEAR(got.radians[i], wanted[i], 1e-14 * wanted[i]) << "pair " << i;
  }
}

template <class Frequency>
std::vector<double> pairs(index_t d, Frequency&& frequency) {
  std::vector<double> result;
  for (index_t i = 0; i < d / 2; ++i) result.push_back(frequency(i));
  return result;
}

TEST(rope_frequencies, are_powers_of_the_base) {
  for (const index_t d : {2, 4, 64, 96, 128}) {
    for (const double base : {10000.0, 500000.0}) {
      const rotary_frequencies got = relpos::rope_frequencies(d, base);
      expect_radians(got, pairs(d, [&](index_t i) { return theta(i, d, base); }));
      EXPECT_EQ(got.attention_factor, 1.0);
      EXPECT_EQ(got.radians[0], 1.0);
    }
  }
}

TEST(linear_frequencies, are_divided) {
  expect_radians(relpos::linear_frequencies(64, 4.0),
                 pairs(64, [](index_t i) { return theta(i, 64, 10000.0) / 4.0; }));
}

TEST(ntk_frequencies, keep_the_fastest_and_divide_the_slowest) {
  for (const double factor : {1.0, 2.0, 8.0}) {
    const rotary_frequencies got = relpos::ntk_frequencies(64, factor);
    EXPECT_EQ(got.radians.front(), 1.0);
    EXPECT_NEAR(got.radians.back(), theta(31, 64, 10000.0) / factor, 1e-14);
    // In between, the divisor is factor^(i / last).
    expect_radians(got, pairs(64, [&](index_t i) {
                     return theta(i, 64, 10000.0) / std::pow(factor, static_cast<double>(i) / 31.0);
                   }));
  }
}

TEST(dynamic_ntk_frequencies, follow_the_length) {
  for (const index_t length : {1, 100, 2048}) {
    EXPECT_EQ(relpos::dynamic_ntk_frequencies(64, 4.0, 2048, length).radians,
              relpos::rope_frequencies(64).radians);
  }
  // factor 4 at 3 times the training length: 4 * 3 - 3
  expect_radians(relpos::dynamic_ntk_frequencies(64, 4.0, 2048, 3 * 2048),
                 relpos::ntk_frequencies(64, 9.0).radians);
  expect_radians(relpos::dynamic_ntk_frequencies(64, 1.0, 2048, 5 * 2048),
                 relpos::ntk_frequencies(64, 5.0).radians);
}

TEST(yarn_frequencies, keep_the_fast_and_divide_the_slow) {
  for (const double factor : {1.0, 4.0, 32.0}) {
    for (const index_t d : {64, 128}) {
      constexpr index_t train_length = 4096;
      const auto turns = [&](index_t i) {
        return train_length * theta(i, d, 10000.0) / (2.0 * pi);
      };
      index_t kept = 0;  // the last pair that turns 32 times or more
      while (turns(kept + 1) >= 32.0) ++kept;
      index_t divided = kept;  // the first that turns once or less
      while (turns(divided) > 1.0) ++divided;

      const rotary_frequencies got = relpos::yarn_frequencies(d, factor, train_length);
      expect_radians(got, pairs(d, [&](index_t i) {
                       const double ramp = i <= kept      ? 0.0
                                           : i >= divided ? 1.0
                                                          : static_cast<double>(i - kept) /
                                                                static_cast<double>(divided - kept);
                       return theta(i, d, 10000.0) * ((1.0 - ramp) + ramp / factor);
                     }));
      EXPECT_NEAR(got.attention_factor, 1.0 + 0.1 * std::log(factor), 1e-15);
    }
  }
}

/// The pair, as a fraction of an index, that turns so many times over `length` positions: the i of
/// length base^(-2i/d) = 2 pi turns.
double rotating_pair(double turns, double length, index_t d, double base) {
  return static_cast<double>(d) / 2.0 * (std::log(length) - std::log(2.0 * pi * turns)) /
         std::log(base);
}

TEST(yarn_frequencies, ramp_between_pairs_that_are_not_whole) {
  struct model {
    index_t d, train_length;
    double factor, base, fast, slow;
  };
  // The first is gpt-oss, with the ramp from 8.0928 to 17.3980.
  for (const model& of : {model{64, 4096, 32.0, 150000.0, 32.0, 1.0},
                          {128, 2048, 4.0, 10000.0, 32.0, 1.0},
                          {96, 8192, 16.0, 500000.0, 20.0, 2.5},
                          {64, 4096, 1.0, 10000.0, 32.0, 1.0}}) {
    const index_t d = of.d;
    const double factor = of.factor;
    const double base = of.base;
    const index_t last_pair = d / 2 - 1;
    const double low = rotating_pair(of.fast, static_cast<double>(of.train_length), d, base);
    const double high = rotating_pair(of.slow, static_cast<double>(of.train_length), d, base);
    ASSERT_GT(low, 0.0);
    ASSERT_LT(high, static_cast<double>(last_pair));
    const rotary_frequencies got = relpos::yarn_frequencies(
        d, factor, of.train_length, base, of.fast, of.slow, relpos::yarn_ramp::exact);
    index_t between = 0;
    expect_radians(got, pairs(d, [&](index_t i) {
                     const auto pair = static_cast<double>(i);
                     if (pair <= low) return theta(i, d, base);
                     if (pair >= high) return theta(i, d, base) / factor;
                     ++between;
                     const double share = (pair - low) / (high - low);
                     return theta(i, d, base) * ((1.0 - share) + share / factor);
                   }));
    EXPECT_GT(between, 5);
    EXPECT_NEAR(got.attention_factor, 1.0 + 0.1 * std::log(factor), 1e-15);
    EXPECT_EQ(relpos::yarn_frequencies(d, factor, of.train_length, base, of.fast, of.slow,
                                       relpos::yarn_ramp::whole_pairs)
                  .radians,
              relpos::yarn_frequencies(d, factor, of.train_length, base, of.fast, of.slow).radians);
  }
  EXPECT_NEAR(rotating_pair(32.0, 4096.0, 64, 150000.0), 8.0928, 1e-4);
  EXPECT_NEAR(rotating_pair(1.0, 4096.0, 64, 150000.0), 17.3980, 1e-4);
}

TEST(yarn_frequencies, of_a_ramp_without_width_are_a_step) {
  const double base = 10000.0;
  const double turns = 12.0;
  const rotary_frequencies got =
      relpos::yarn_frequencies(64, 8.0, 4096, base, turns, turns, relpos::yarn_ramp::exact);
  const double step = rotating_pair(turns, 4096.0, 64, base);
  ASSERT_GT(std::abs(step - std::round(step)), 0.01);
  expect_radians(got, pairs(64, [&](index_t i) {
                   return theta(i, 64, base) / (static_cast<double>(i) > step ? 8.0 : 1.0);
                 }));
}

TEST(yarn_frequencies, keep_all_pairs_where_all_are_fast) {
  for (const relpos::yarn_ramp ramp : {relpos::yarn_ramp::whole_pairs, relpos::yarn_ramp::exact}) {
    // The slowest pair turns 18000 times.
    const auto got = relpos::yarn_frequencies(64, 8.0, 10000000, 100.0, 32.0, 1.0, ramp);
    expect_radians(got, pairs(64, [](index_t i) { return theta(i, 64, 100.0); }));
  }
}

TEST(yarn_mscale, is_one_without_stretching) {
  EXPECT_EQ(relpos::yarn_mscale(1.0), 1.0);
  EXPECT_EQ(relpos::yarn_mscale(0.5, 3.0), 1.0);
  // DeepSeek's factor 40, as published: 1.36889 alone, 1.08573 with the pair (1, 0.707).
  EXPECT_NEAR(relpos::yarn_mscale(40.0), 1.36889, 1e-5);
  EXPECT_NEAR(relpos::yarn_mscale(40.0, 1.0) / relpos::yarn_mscale(40.0, 0.707), 1.08573, 1e-5);
}

TEST(proportional_frequencies, leave_the_slow_pairs_unrotated) {
  // Gemma 4: a quarter of 512 channels.
  expect_radians(relpos::proportional_frequencies(512, 0.25, 1e6),
                 pairs(512, [](index_t i) { return i < 64 ? theta(i, 512, 1e6) : 0.0; }));
  // 0.3 of 50 channels are 15, which make 7 pairs.
  expect_radians(relpos::proportional_frequencies(50, 0.3, 10000.0, 8.0),
                 pairs(50, [](index_t i) { return i < 7 ? theta(i, 50, 10000.0) / 8.0 : 0.0; }));
  EXPECT_EQ(relpos::proportional_frequencies(64, 1.0).radians,
            relpos::rope_frequencies(64).radians);
}

TEST(axial_frequencies, of_two_axes) {
  using relpos::axial_order;
  using relpos::axial_spacing;
  constexpr index_t d = 64;
  const auto row_then_column = [](index_t i) { return i / 16; };
  // Qwen2-VL's tower: both halves have the frequencies of 32 channels.
  const rotary_frequencies own = relpos::axial_frequencies(d, 2);
  expect_radians(own, pairs(d, [](index_t i) { return theta(i % 16, 32, 10000.0); }));
  // Pixtral: even frequencies for rows, odd for columns.
  const rotary_frequencies dealt =
      relpos::axial_frequencies(d, 2, 10000.0, axial_spacing::dealt, axial_order::sections);
  expect_radians(dealt, pairs(d, [&](index_t i) {
                   return theta(2 * (i % 16) + row_then_column(i), d, 10000.0);
                 }));
  // Kimi K2.5: columns and rows in turn, each with the frequencies of 32 channels.
  const rotary_frequencies alternating =
      relpos::axial_frequencies(d, 2, 100.0, axial_spacing::own, axial_order::alternating);
  expect_radians(alternating, pairs(d, [](index_t i) { return theta(i / 2, 32, 100.0); }));
  for (index_t i = 0; i < d / 2; ++i) {
    const auto at = static_cast<std::size_t>(i);
    EXPECT_EQ(own.axes[at], row_then_column(i));
    EXPECT_EQ(dealt.axes[at], row_then_column(i));
    EXPECT_EQ(alternating.axes[at], i % 2);
  }
}

TEST(axial_frequencies, of_time_rows_and_columns) {
  const rotary_frequencies got = relpos::axial_frequencies(96, 3);
  expect_radians(got, pairs(96, [](index_t i) { return theta(i % 16, 32, 10000.0); }));
  for (index_t i = 0; i < 48; ++i) EXPECT_EQ(got.axes[static_cast<std::size_t>(i)], i / 16);
}

TEST(llama3_frequencies, go_by_wavelength) {
  const rotary_frequencies got = relpos::llama3_frequencies(128);
  expect_radians(got, pairs(128, [](index_t i) {
                   const double plain = theta(i, 128, 500000.0);
                   const double wavelength = 2.0 * pi / plain;
                   if (wavelength < 8192.0 / 4.0) return plain;
                   if (wavelength > 8192.0 / 1.0) return plain / 8.0;
                   const double smooth = (8192.0 / wavelength - 1.0) / (4.0 - 1.0);
                   return (1.0 - smooth) * plain / 8.0 + smooth * plain;
                 }));
  EXPECT_EQ(got.attention_factor, 1.0);
}

TEST(longrope_frequencies, have_a_divisor_each) {
  const std::array<double, 4> divisors{1.0, 1.5, 20.0, 64.0};
  const rotary_frequencies got = relpos::longrope_frequencies(divisors, 32.0, 4096);
  expect_radians(got, pairs(8, [&](index_t i) {
                   return theta(i, 8, 10000.0) / divisors[static_cast<std::size_t>(i)];
                 }));
  // ln 32 / ln 4096 = 5 / 12
  EXPECT_NEAR(got.attention_factor, std::sqrt(17.0 / 12.0), 1e-15);
}

TEST(rotary_frequencies, of_what_is_out_of_range_are_none) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr index_t least = std::numeric_limits<index_t>::min();
  for (const index_t d : {least, index_t{-2}, index_t{0}, index_t{1}, index_t{7},
                          relpos::max_rotary_dim + 2, -(least + 2)}) {
    EXPECT_TRUE(relpos::rope_frequencies(d).radians.empty());
    EXPECT_TRUE(relpos::linear_frequencies(d, 2.0).radians.empty());
    EXPECT_TRUE(relpos::yarn_frequencies(d, 2.0, 100).radians.empty());
    EXPECT_TRUE(relpos::llama3_frequencies(d).radians.empty());
  }
  EXPECT_TRUE(relpos::ntk_frequencies(2, 2.0).radians.empty());
  for (const double base : {1.0, 0.0, -3.0, nan}) {
    EXPECT_TRUE(relpos::rope_frequencies(8, base).radians.empty());
  }
  for (const double factor : {0.5, 0.0, -1.0, nan}) {
    EXPECT_TRUE(relpos::linear_frequencies(8, factor).radians.empty());
    EXPECT_TRUE(relpos::ntk_frequencies(8, factor).radians.empty());
    EXPECT_TRUE(relpos::dynamic_ntk_frequencies(8, factor, 100, 200).radians.empty());
    EXPECT_TRUE(relpos::yarn_frequencies(8, factor, 100).radians.empty());
    EXPECT_TRUE(relpos::llama3_frequencies(8, factor).radians.empty());
  }
  const std::array<double, 2> zero{1.0, 0.0};
  EXPECT_TRUE(relpos::longrope_frequencies(zero, 2.0, 100).radians.empty());
  EXPECT_TRUE(relpos::longrope_frequencies({}, 2.0, 100).radians.empty());
  EXPECT_TRUE(relpos::yarn_frequencies(8, 2.0, 0).radians.empty());
  for (const double fraction : {0.0, -0.5, 1.5, nan}) {
    EXPECT_TRUE(relpos::proportional_frequencies(8, fraction).radians.empty());
  }
  EXPECT_TRUE(relpos::proportional_frequencies(7, 0.5).radians.empty());
  EXPECT_TRUE(relpos::proportional_frequencies(8, 0.5, 10000.0, 0.5).radians.empty());
  for (const index_t axes : {-1, 0, 3, 5}) {
    EXPECT_TRUE(relpos::axial_frequencies(32, axes).radians.empty());
  }
  EXPECT_TRUE(relpos::axial_frequencies(-32, 2).radians.empty());
  EXPECT_TRUE(relpos::yarn_frequencies(8, 2.0, 100, 10000.0, 1.0, 32.0).radians.empty());
}

}  // namespace
