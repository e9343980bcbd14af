#include "relpos/model/rotate.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "relpos/model/frequencies.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;
using relpos::pair_layout;
using support::tensor;

constexpr long double pi = 3.141592653589793238462643383279502884L;

tensor<float> random_rows(index_t rows, index_t channels, std::uint32_t seed = 7) {
  tensor<float> result({2, 3, rows, channels});
  support::random_numbers random(seed);
  for (float& value : result.values) value = random.uniform();
  return result;
}

/// The angle of pair i by definition; 64 bits of mantissa keep 1e-13 at position 10^6.
long double angle_of(index_t position, index_t pair, index_t rotary_dim) {
  const long double theta = std::pow(
      10000.0L, -2.0L * static_cast<long double>(pair) / static_cast<long double>(rotary_dim));
  return std::fmod(static_cast<long double>(position) * theta, 2.0L * pi);
}

void expect_rotated(const tensor<float>& got, const tensor<float>& from, index_t rotary_dim,
                    pair_layout layout, index_t offset, double factor = 1.0) {
  for (index_t b = 0; b < 2; ++b) {
    for (index_t h = 0; h < 3; ++h) {
      for (index_t row = 0; row < from.shape[2]; ++row) {
        for (index_t i = 0; i < rotary_dim / 2; ++i) {
          const bool interleaved = layout == pair_layout::interleaved;
          const index_t first = interleaved ? 2 * i : i;
          const index_t second = interleaved ? 2 * i + 1 : i + rotary_dim / 2;
          const long double angle = angle_of(row + offset, i, rotary_dim);
          const long double a = from(b, h, row, first);
          const long double b_value = from(b, h, row, second);
          EXPECT_NEAR(
              got(b, h, row, first),
              static_cast<double>(factor * (a * std::cos(angle) - b_value * std::sin(angle))),
              3e-7 * factor);
          EXPECT_NEAR(
              got(b, h, row, second),
              static_cast<double>(factor * (a * std::sin(angle) + b_value * std::cos(angle))),
              3e-7 * factor);
        }
        for (index_t c = rotary_dim; c < from.shape[3]; ++c) {
          EXPECT_EQ(got(b, h, row, c), from(b, h, row, c));
        }
      }
    }
  }
}

TEST(rotate, rotates_pairs_of_either_layout) {
  for (const pair_layout layout : {pair_layout::interleaved, pair_layout::half_split}) {
    for (const index_t rotary_dim : {2, 8, 20}) {
      for (const index_t offset : {0, 5, -3, 1000000}) {
        const tensor<float> from = random_rows(9, 20);
        tensor<float> rows = from;
        ASSERT_TRUE(
            relpos::rotate(rows.view(), relpos::rope_frequencies(rotary_dim), layout, offset));
        expect_rotated(rows, from, rotary_dim, layout, offset);
      }
    }
  }
}

TEST(rotate, multiplies_by_the_attention_factor) {
  relpos::rotary_frequencies frequencies = relpos::rope_frequencies(8);
  frequencies.attention_factor = 1.25;
  const tensor<float> from = random_rows(4, 8);
  tensor<float> rows = from;
  ASSERT_TRUE(relpos::rotate(rows.view(), frequencies, pair_layout::half_split));
  expect_rotated(rows, from, 8, pair_layout::half_split, 0, 1.25);
}

/// All products of a query row and a key row.
std::vector<double> scores(const tensor<float>& q, const tensor<float>& k) {
  std::vector<double> result;
  for (index_t i = 0; i < q.shape[2]; ++i) {
    for (index_t j = 0; j < k.shape[2]; ++j) {
      double sum = 0.0;
      for (index_t c = 0; c < q.shape[3]; ++c) {
        sum += static_cast<double>(q(0, 0, i, c)) * static_cast<double>(k(0, 0, j, c));
      }
      result.push_back(sum);
    }
  }
  return result;
}

TEST(rotate, scores_depend_on_the_distance_alone) {
  const auto scores_at = [](index_t offset) {
    tensor<float> q = random_rows(6, 64, 1);
    tensor<float> k = random_rows(40, 64, 2);
    const auto frequencies = relpos::rope_frequencies(64);
    EXPECT_TRUE(relpos::rotate(q.view(), frequencies, pair_layout::interleaved, offset + 34));
    EXPECT_TRUE(relpos::rotate(k.view(), frequencies, pair_layout::interleaved, offset));
    return scores(q, k);
  };
  const std::vector<double> wanted = scores_at(0);
  for (const index_t offset :
       {index_t{999983}, index_t{1} << 40, -(index_t{1} << 50), relpos::max_offset - 34}) {
    const std::vector<double> got = scores_at(offset);
    for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(got[i], wanted[i], 2e-6);
  }
}

TEST(rotate, chunks_are_the_whole) {
  tensor<float> whole = random_rows(50, 16);
  tensor<float> parts = whole;
  const auto frequencies = relpos::rope_frequencies(16);
  ASSERT_TRUE(relpos::rotate(whole.view(), frequencies, pair_layout::half_split, 100));
  for (index_t first = 0; first < 50; first += 7) {
    const index_t count = std::min<index_t>(7, 50 - first);
    ASSERT_TRUE(relpos::rotate(parts.view().slice(2, first, count), frequencies,
                               pair_layout::half_split, 100 + first));
  }
  EXPECT_EQ(std::memcmp(whole.values.data(), parts.values.data(), whole.values.size() * 4), 0);
}

TEST(rotate, rounds_sixteen_bit_rows_once) {
  const tensor<float> from = random_rows(5, 8);
  tensor<relpos::bfloat16> rows({2, 3, 5, 8});
  tensor<float> exact({2, 3, 5, 8});
  for (std::size_t i = 0; i < from.values.size(); ++i) {
    rows.values[i] = relpos::bfloat16(from.values[i]);
    exact.values[i] = static_cast<float>(rows.values[i]);
  }
  ASSERT_TRUE(
      relpos::rotate(rows.view(), relpos::rope_frequencies(8), pair_layout::interleaved, 3));
  ASSERT_TRUE(
      relpos::rotate(exact.view(), relpos::rope_frequencies(8), pair_layout::interleaved, 3));
  for (std::size_t i = 0; i < exact.values.size(); ++i) {
    EXPECT_EQ(rows.values[i].bits, relpos::bfloat16(exact.values[i]).bits);
  }
}

TEST(rotate, refuses_what_does_not_fit) {
  const tensor<float> before = random_rows(4, 6);
  tensor<float> rows = before;
  const auto refused = [&](const relpos::view<float, 4>& of, const relpos::rotary_frequencies& with,
                           index_t offset = 0) {
    const relpos::status done = relpos::rotate(of, with, pair_layout::interleaved, offset);
    EXPECT_EQ(rows.values, before.values);
    return std::string(done.message);
  };
  EXPECT_EQ(refused(rows.view(), relpos::rope_frequencies(8)),
            "frequencies: 4 pairs of channels, must be 1 to half of the channels of [2, 3, 4, 6]");
  EXPECT_EQ(refused(rows.view(), relpos::rope_frequencies(7)),
            "frequencies: 0 pairs of channels, must be 1 to half of the channels of [2, 3, 4, 6]");
  EXPECT_EQ(refused(rows.view(), relpos::rope_frequencies(6), relpos::max_offset + 1),
            "position_offset: is 1152921504606846977, must be within +-2^60");
  relpos::rotary_frequencies zero = relpos::rope_frequencies(6);
  for (const auto& [factor, text] : {std::pair{0.0, "is inf"}, std::pair{1e-39, "is 1e+39"}}) {
    zero.attention_factor = factor;
    EXPECT_NE(refused(rows.view(), relpos::inverse_frequencies(zero))
                  .find(std::string("attention_factor ") + text),
              std::string::npos);
  }
  EXPECT_NE(refused(rows.view(), relpos::xpos_frequencies(6)).find("rotary{table}"),
            std::string::npos);
  relpos::view<float, 4> broken = rows.view();
  broken.strides[1] = 0;
  EXPECT_NE(refused(broken, relpos::rope_frequencies(6)).find("share memory"), std::string::npos);
  broken = {};
  broken.shape = {2, 3, 4, 6};
  EXPECT_NE(refused(broken, relpos::rope_frequencies(6)).find("null"), std::string::npos);
}

// Positions per token: the rows of a call one by one, each from its own offset.
TEST(rotate, to_positions_of_tokens) {
  const auto frequencies = relpos::rope_frequencies(16);
  const std::vector<index_t> positions{5, 6, 0, 1, 1000000, 7, -3, 2, 2, 2};  // [batch, position]
  const relpos::view<const index_t, 2> of_tokens(positions.data(), {2, 5});
  for (const pair_layout layout : {pair_layout::half_split, pair_layout::interleaved}) {
    const tensor<float> from = random_rows(5, 20);
    tensor<float> together = from;
    ASSERT_TRUE(relpos::rotate(together.view(), frequencies, layout, of_tokens));
    tensor<float> apart = from;
    for (index_t batch = 0; batch < 2; ++batch) {
      for (index_t row = 0; row < 5; ++row) {
        const auto one = apart.view().slice(0, batch, 1).slice(2, row, 1);
        ASSERT_TRUE(relpos::rotate(one, frequencies, layout,
                                   positions[static_cast<std::size_t>(batch * 5 + row)]));
      }
    }
    EXPECT_EQ(together.values, apart.values);
  }
}

TEST(rotate, back_by_inverse_frequencies) {
  auto frequencies = relpos::yarn_frequencies(12, 8.0, 64, 10000.0);
  const tensor<float> from = random_rows(5, 16);
  tensor<float> got = from;
  for (const pair_layout layout : {pair_layout::half_split, pair_layout::interleaved}) {
    ASSERT_TRUE(relpos::rotate(got.view(), frequencies, layout, 777));
    EXPECT_GT(std::abs(got(0, 0, 1, 0) - from(0, 0, 1, 0)), 0.01f);
    ASSERT_TRUE(relpos::rotate(got.view(), relpos::inverse_frequencies(frequencies), layout, 777));
    for (std::size_t i = 0; i < got.values.size(); ++i) {
      EXPECT_NEAR(got.values[i], from.values[i], 1e-6f);
    }
  }
}

/// a * b and a + b of float32, each rounded once, whatever the compiler fuses.
float times(float a, float b) {
  const volatile float product = a * b;
  return product;
}
float plus(float a, float b) {
  const volatile float sum = a + b;
  return sum;
}

TEST(rotate, by_given_cosines_and_sines_to_the_bit) {
  for (const index_t batch : {1, 2}) {
    const auto cosines = support::random_tensor({1, batch, 5, 3}, 4);
    const auto sines = support::random_tensor({1, batch, 5, 3}, 5);
    const auto table = [&](const tensor<float>& of) {
      return relpos::view<const float, 3>(of.values.data(), {batch, 5, 3});
    };
    for (const pair_layout layout : {pair_layout::half_split, pair_layout::interleaved}) {
      const tensor<float> from = random_rows(5, 8);
      tensor<float> got = from;
      ASSERT_TRUE(relpos::rotate(got.view(), table(cosines), table(sines), layout));
      for (index_t b = 0; b < 2; ++b) {
        for (index_t row = 0; row < 5; ++row) {
          for (index_t i = 0; i < 3; ++i) {
            const index_t first = layout == pair_layout::interleaved ? 2 * i : i;
            const index_t second = layout == pair_layout::interleaved ? 2 * i + 1 : i + 3;
            const float x = from(b, 2, row, first);
            const float y = from(b, 2, row, second);
            const float c = cosines(0, batch == 1 ? 0 : b, row, i);
            const float s = sines(0, batch == 1 ? 0 : b, row, i);
            EXPECT_EQ(got(b, 2, row, first), plus(times(x, c), -times(y, s)));
            EXPECT_EQ(got(b, 2, row, second), plus(times(y, c), times(x, s)));
          }
          EXPECT_EQ(got(b, 2, row, 6), from(b, 2, row, 6));
          EXPECT_EQ(got(b, 2, row, 7), from(b, 2, row, 7));
        }
      }
    }
  }
}

TEST(rotate, refuses_tables_that_do_not_fit) {
  const tensor<float> before = random_rows(4, 6);
  tensor<float> rows = before;
  const std::vector<float> table(4 * 4);
  const auto refused = [&](const relpos::view<const float, 3>& cosines,
                           const relpos::view<const float, 3>& sines) {
    const relpos::status done =
        relpos::rotate(rows.view(), cosines, sines, pair_layout::half_split);
    EXPECT_EQ(rows.values, before.values);
    return std::string(done.message);
  };
  const auto of = [&](index_t batch, index_t positions, index_t pairs) {
    return relpos::view<const float, 3>(table.data(), {batch, positions, pairs});
  };
  EXPECT_EQ(
      refused(of(1, 4, 3), of(1, 4, 2)),
      "sines: must have the shape of the cosines, sines are [1, 4, 2], cosines are [1, 4, 3]");
  EXPECT_EQ(
      refused(of(1, 4, 4), of(1, 4, 4)),
      "cosines: are [1, 4, 4], must be [batch or 1, position, pair] of rows [2, 3, 4, 6], with "
      "1 pair to half of the channels");
  EXPECT_NE(refused(of(1, 3, 3), of(1, 3, 3)).find("cosines: are [1, 3, 3]"), std::string::npos);
  EXPECT_NE(refused(of(3, 1, 3), of(3, 1, 3)).find("cosines: are [3, 1, 3]"), std::string::npos);
  relpos::view<const float, 3> none = of(1, 4, 3);
  none.data = nullptr;
  EXPECT_NE(refused(of(1, 4, 3), none).find("null"), std::string::npos);
  const relpos::view<const float, 3> inside(rows.values.data(), {1, 4, 3});
  EXPECT_EQ(refused(inside, of(1, 4, 3)), "rows: overlap the cosines or sines");
}

// M-RoPE: each pair as if its axis were the only one.
TEST(rotate, by_the_axis_of_a_pair) {
  auto frequencies = relpos::rope_frequencies(8);
  const std::vector<index_t> positions{3, 4, 5, 0, 1, 2, 90, 80, 70};  // [axis, position]
  const relpos::view<const index_t, 3> of_tokens(positions.data(), {3, 1, 3});
  const tensor<float> from = random_rows(3, 8);
  tensor<float> got = from;
  frequencies.axes = {0, 2, 1, 2};
  ASSERT_TRUE(relpos::rotate(got.view(), frequencies, pair_layout::half_split, of_tokens));
  for (index_t pair = 0; pair < 4; ++pair) {
    const index_t axis = frequencies.axes[static_cast<std::size_t>(pair)];
    for (index_t row = 0; row < 3; ++row) {
      const long double angle =
          angle_of(positions[static_cast<std::size_t>(axis * 3 + row)], pair, 8);
      const long double a = from(1, 2, row, pair);
      const long double b = from(1, 2, row, pair + 4);
      EXPECT_NEAR(got(1, 2, row, pair),
                  static_cast<double>(a * std::cos(angle) - b * std::sin(angle)), 3e-7);
      EXPECT_NEAR(got(1, 2, row, pair + 4),
                  static_cast<double>(a * std::sin(angle) + b * std::cos(angle)), 3e-7);
    }
  }
}

TEST(rotate, refuses_positions_that_do_not_fit) {
  tensor<float> rows = random_rows(3, 8);
  auto frequencies = relpos::rope_frequencies(8);
  const auto refusal = [&](const relpos::view<const index_t, 3>& of_tokens) {
    return std::string(
        relpos::rotate(rows.view(), frequencies, pair_layout::half_split, of_tokens).message);
  };
  const std::vector<index_t> positions(12);
  EXPECT_EQ(refusal({positions.data(), {1, 2, 4}}),
            "of_tokens: shape is [1, 2, 4], must be [axis, batch or 1, position] = [1 or more, 2, "
            "3]");
  frequencies.axes = {0, 0, 1, 1};
  EXPECT_EQ(refusal({positions.data(), {1, 2, 3}}),
            "of_tokens: have 1 axes, but a pair rotates by axis 1");
  frequencies.axes = {0, 0, 1};
  EXPECT_EQ(refusal({positions.data(), {2, 2, 3}}),
            "frequencies: axes has 3 numbers, must have one for each of 4 pairs");
}

}  // namespace
