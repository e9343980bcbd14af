// Caches of four bits.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "kv_cache/caches.hpp"
#include "kv_cache/prefill_and_decode.hpp"
#include "kv_cache/stored_rows.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::int4_group;
using support::cache_sizes;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;
using support::tensor;

template <class Own, class Make>
void expect_appended(const Make& make) {
  for (const support::case_of_lengths& each :
       {support::case_of_lengths{1, 64, 64}, {129, 64, 128}, {1025, 128, 128}, {300, 192, 64}}) {
    support::expect_prefill_and_decode<Own>(each, make, 0.0, relpos::alibi{support::slopes_of_four},
                                            relpos::causal{});
  }
}

TEST(int4_cache, is_the_reference_over_rounded_rows) {
  expect_appended<own_contiguous<int4_group<32>>>(
      [](const cache_sizes& of) { return own_contiguous<int4_group<32>>(of); });
  expect_appended<own_contiguous<int4_group<64>>>(
      [](const cache_sizes& of) { return own_contiguous<int4_group<64>>(of); });
  expect_appended<own_paged<int4_group<32>>>(
      [](const cache_sizes& of) { return own_paged<int4_group<32>>(of, 16); });
  expect_appended<own_ring<int4_group<64>>>([](const cache_sizes& of) {
    return own_ring<int4_group<64>>(of, std::min<index_t>(2, of.rows - 1));
  });
}

// One query reads whole tiles of keys and of values in one stream.
template <class Group>
void expect_one_row() {
  for (const index_t channels : {64, 128}) {
    const auto in = support::random_inputs({.batch = 1,
                                            .query_heads = 2,
                                            .key_heads = 2,
                                            .query_length = 1,
                                            .key_length = 2500,
                                            .head_dim = channels,
                                            .value_dim = channels},
                                           9);
    const cache_sizes of{
        .batch = 1, .key_heads = 2, .rows = 2500, .head_dim = channels, .value_dim = channels};
    const tensor<float> k = support::stored<Group>(in.k);
    const tensor<float> v = support::stored<Group>(in.v);
    const auto got = [&](auto own) {
      support::append_rows(own, in, 0, 2500);
      return support::attend_cache(own.cache(), in.q.view(), {}, relpos::causal{});
    };
    const auto contiguous = got(own_contiguous<Group>(of));
    expect_reference(contiguous, in.q.view(), k.view(), v.view(), {}, relpos::causal{});
    EXPECT_TRUE(same_bits(contiguous, got(own_paged<Group>(of, 13))));
  }
}

TEST(int4_cache, one_row) {
  expect_one_row<int4_group<32>>();
  expect_one_row<int4_group<64>>();
}

// A rotated key is rounded after its rotation.
TEST(int4_cache, rotated_keys) {
  const cache_sizes of{.batch = 1, .key_heads = 2, .rows = 600, .head_dim = 64, .value_dim = 64};
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 2,
                                          .key_heads = 2,
                                          .query_length = 600,
                                          .key_length = 600,
                                          .head_dim = 64,
                                          .value_dim = 64},
                                         11);
  const relpos::rotary_table table(relpos::rope_frequencies(64), relpos::pair_layout::half_split);
  own_contiguous<int4_group<32>> own(of);
  own_contiguous<float> wide(of);
  support::append_rows(own, in, 0, 600, relpos::rotary{table});
  support::append_rows(wide, in, 0, 600, relpos::rotary{table});
  wide.memory.keys = support::stored<int4_group<32>>(wide.memory.keys);
  wide.memory.values = support::stored<int4_group<32>>(wide.memory.values);
  const auto q = in.q.view().slice(2, 599, 1);
  const auto got = support::attend_cache(own.cache(), q, {}, relpos::rotary{table});
  const auto expected = support::attend_cache(wide.cache(), q, {}, relpos::rotary{table});
  for (std::size_t i = 0; i < got.out.values.size(); ++i) {
    ASSERT_NEAR(got.out.values[i], expected.out.values[i], 1e-6f);
  }
}

/// A row of one group, appended and read again.
std::vector<float> row_of(const std::vector<float>& channels) {
  own_contiguous<int4_group<32>> own({.rows = 1, .head_dim = 32, .value_dim = 32});
  support::inputs<float> in{{}, tensor<float>({1, 1, 1, 32}), tensor<float>({1, 1, 1, 32})};
  in.k.values = channels;
  support::append_rows(own, in, 0, 1);
  std::vector<float> result(32);
  own.cache().template keys<relpos::native>(0, 0).load(0, result.data());
  return result;
}

TEST(int4_cache, rows_of_one_number) {
  EXPECT_EQ(row_of(std::vector<float>(32, 0.0f)), std::vector<float>(32, 0.0f));
  EXPECT_EQ(row_of(std::vector<float>(32, -3.5f)), std::vector<float>(32, -3.5f));
  EXPECT_EQ(row_of(std::vector<float>(32, 1e-10f)), std::vector<float>(32, 0.0f));
  for (const float x : row_of(std::vector<float>(32, 0.1f))) EXPECT_NEAR(x, 0.1f, 0x1p-20f);
}

TEST(int4_cache, numbers_that_half_cannot_hold) {
  for (const float big :
       {support::infinity, -support::infinity, support::not_a_number, 1e30f, -70000.0f}) {
    std::vector<float> channels(32, 1.0f);
    channels[7] = big;
    for (const float x : row_of(channels)) EXPECT_TRUE(std::isnan(x)) << big;
  }
  std::vector<float> channels(32, -65504.0f);
  channels[3] = 65504.0f;
  const std::vector<float> got = row_of(channels);
  EXPECT_EQ(got[0], -65504.0f);
  EXPECT_NEAR(got[3], 65504.0f, 70.0f);
}

// Half a scale. zero is at most 2^-10 of itself, or a subnormal step, below the least number; scale
// is as much above a 15th of the way to the largest. Float rounds x / scale, below 15, once more.
TEST(int4_cache, error_of_a_channel) {
  for (std::uint32_t seed = 0; seed < 400; ++seed) {
    const float spread = std::ldexp(1.0f, static_cast<int>(seed % 40) - 25);
    const std::vector<float> channels = support::random_tensor({1, 1, 1, 32}, seed, spread).values;
    const auto [least, most] = std::minmax_element(channels.begin(), channels.end());
    const float range = *most - *least;
    const float way = range + std::max(0x1p-10f * std::abs(*least), 0x1p-24f);
    const float scale = std::max(way / 15.0f * (1.0f + 0x1p-10f), way / 15.0f + 0x1p-24f);
    const float bound = scale * (0.5f + 15.0f * 0x1p-22f);
    const std::vector<float> got = row_of(channels);
    for (std::size_t c = 0; c < 32; ++c) {
      ASSERT_LE(std::abs(got[c] - channels[c]), bound) << seed << ", channel " << c;
    }
  }
}

/// Numbers of a normal distribution, by Box and Muller.
tensor<float> normal_tensor(std::array<index_t, 4> shape, std::uint32_t seed) {
  tensor<float> result(shape);
  support::random_numbers random(seed);
  for (float& x : result.values) {
    const double radius = std::sqrt(-2.0 * std::log(0.5 + 0.4999999 * random.uniform()));
    x = static_cast<float>(radius * std::cos(3.141592653589793 * random.uniform()));
  }
  return result;
}

// Rows hold unit-normal numbers. The errors of a key's channels, at most half a scale each, move a
// logit by at most `moved`, and weights by e^(2 moved). The errors of values move the output by at
// most half a scale.
template <class Group>
void expect_error_of_decode(index_t channels, double documented) {
  constexpr index_t keys = 4096;
  support::inputs<float> in{normal_tensor({1, 8, 1, channels}, 1),
                            normal_tensor({1, 8, keys, channels}, 2),
                            normal_tensor({1, 8, keys, channels}, 3)};
  own_contiguous<Group> own(
      {.batch = 1, .key_heads = 8, .rows = keys, .head_dim = channels, .value_dim = channels});
  support::append_rows(own, in, 0, keys);
  const auto got =
      support::attend_cache(own.cache(), std::as_const(in.q).view(), relpos::options{});
  std::vector<double> exact, lse;
  support::run_reference(exact, lse, std::as_const(in.q).view(), std::as_const(in.k).view(),
                         std::as_const(in.v).view(), {});
  double half_scale = 0.0;
  for (const auto* const memory : {&own.memory.keys, &own.memory.values}) {
    for (const Group& group : memory->values) {
      half_scale = std::max(half_scale, static_cast<double>(static_cast<float>(group.scale)) / 2.0);
    }
  }
  double largest_value = 0.0;
  for (const float x : in.v.values) largest_value = std::max(largest_value, std::abs(double{x}));
  for (index_t h = 0; h < 8; ++h) {
    double sum_of_query = 0.0;
    for (index_t c = 0; c < channels; ++c) sum_of_query += std::abs(double{in.q(0, h, 0, c)});
    const double moved = sum_of_query / std::sqrt(static_cast<double>(channels)) * half_scale;
    const double bound = half_scale + std::expm1(2.0 * moved) * largest_value;
    for (index_t c = 0; c < channels; ++c) {
      const double error =
          std::abs(got.out(0, h, 0, c) - exact[static_cast<std::size_t>(h * channels + c)]);
      ASSERT_LE(error, bound);
      ASSERT_LE(error, documented);
    }
  }
}

TEST(int4_cache, error_of_decode) {
  expect_error_of_decode<int4_group<32>>(64, 0.011);
  expect_error_of_decode<int4_group<64>>(64, 0.012);
  expect_error_of_decode<int4_group<32>>(128, 0.011);
  expect_error_of_decode<int4_group<64>>(128, 0.012);
}

TEST(int4_cache, hidden_rows) {
  const cache_sizes of{.batch = 1, .key_heads = 1, .rows = 261, .head_dim = 64, .value_dim = 64};
  auto in = support::random_inputs({.batch = 1,
                                    .query_heads = 2,
                                    .key_heads = 1,
                                    .query_length = 4,
                                    .key_length = 261,
                                    .head_dim = 64,
                                    .value_dim = 64},
                                   12);
  const auto attend = [&](relpos::kernel_class kernel) {
    own_contiguous<int4_group<64>> own(of);
    support::append_rows(own, in, 0, 261);
    return support::attend_cache(own.cache(), std::as_const(in.q).view(),
                                 relpos::options{.kernel = kernel}, relpos::causal{});
  };
  for (const auto kernel : {relpos::kernel_class::decode, relpos::kernel_class::prefill}) {
    const auto clean = attend(kernel);
    in.k(0, 0, 259, 3) = in.v(0, 0, 259, 2) = support::not_a_number;
    const auto got = attend(kernel);
    in.k(0, 0, 259, 3) = in.v(0, 0, 259, 2) = 0.5f;
    EXPECT_TRUE(std::isnan(got.out(0, 0, 2, 5)));
    for (index_t c = 0; c < 64; ++c) ASSERT_EQ(got.out(0, 1, 1, c), clean.out(0, 1, 1, c));
  }
}

TEST(int4_cache, forked_pages) {
  const cache_sizes of{.batch = 2, .key_heads = 1, .rows = 64, .head_dim = 64, .value_dim = 32};
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 1,
                                          .key_heads = 1,
                                          .query_length = 1,
                                          .key_length = 64,
                                          .head_dim = 64,
                                          .value_dim = 32},
                                         13);
  own_paged<int4_group<32>> own(of, 16);
  support::append_rows_of(own, 0, in, 0, 40);
  ASSERT_TRUE(own.pool.fork(own.cache(), 0, 1));
  support::append_rows_of(own, 1, in, 40, 50);
  ASSERT_TRUE(own.pool.truncate(own.cache(), 1, 45));
  std::vector<float> row(64), expected(64);
  const auto keys = [&](index_t sequence) {
    return own.cache().template keys<relpos::native>(sequence, 0);
  };
  for (index_t i = 0; i < 40; ++i) {
    keys(0).load(i, expected.data());
    keys(1).load(i, row.data());
    EXPECT_EQ(row, expected);
  }
  EXPECT_EQ(own.cache().length(1), 45);
}

TEST(int4_cache, rows_of_other_channels_are_refused) {
  own_contiguous<int4_group<32>> own({.rows = 4, .head_dim = 64, .value_dim = 64});
  const tensor<float> rows({1, 1, 1, 32}, 1.0f);
  const relpos::status done =
      relpos::append(relpos::serial{}, own.cache(), rows.view(), rows.view());
  EXPECT_FALSE(done);
  EXPECT_STREQ(done.message,
               "k: heads and head_dim must equal those in cache.keys, k is [1, 1, 1, 32], keys are "
               "[1, 1, 4, 64]");
}

}  // namespace
