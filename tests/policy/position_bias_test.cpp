#include "relpos/policy/position_bias.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "relpos/policies.hpp"
#include "support/both_kernels.hpp"

namespace {

using relpos::cumulative_bias;
using relpos::index_t;
using relpos::kernel_class;
using relpos::key_bias;
using relpos::status_code;
using support::expect_both_kernels;
using support::inputs;
using support::tensor;

inputs<float> sizes(index_t queries, index_t keys) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 4,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                81);
}

/// Running sums of the logarithms of gates around `mean`, [batch or 1, heads or 1, position].
tensor<double, 3> sums_of(index_t batch, index_t heads, index_t positions, double mean) {
  tensor<double, 3> sums({batch, heads, positions});
  support::random_numbers random(5);
  for (index_t list = 0; list < batch * heads; ++list) {
    double sum = 0.0;
    for (index_t i = 0; i < positions; ++i) {
      sum += std::log(mean) * (1.0 + 0.5 * static_cast<double>(random.uniform()));
      sums.values[static_cast<std::size_t>(list * positions + i)] = sum;
    }
  }
  return sums;
}

bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

TEST(key_bias, of_each_axis) {
  for (const index_t queries : {1, 3, 130}) {
    const inputs<float> in = sizes(queries, 300);
    for (const index_t batch : {1, 2}) {
      for (const index_t heads : {1, 4}) {
        const auto list = support::random_tensor({1, batch, heads, 300}, 7);
        const key_bias bias(relpos::view<const float, 3>(list.values.data(), {batch, heads, 300}));
        const auto meant = [&](index_t b, index_t h, index_t, index_t key) {
          return static_cast<double>(list(0, batch == 1 ? 0 : b, heads == 1 ? 0 : h, key));
        };
        expect_both_kernels(in, {}, {.element_bias = meant}, bias);
        expect_both_kernels(
            in, {.softcap = 1.5f},
            {.element_bias = meant, .visible = is_causal, .softcap = 1.5, .temperature = 0.7}, bias,
            relpos::causal{}, relpos::temperature{0.7f});
      }
    }
  }
}

TEST(key_bias, hides_keys) {
  const inputs<float> in = sizes(3, 200);
  std::vector<float> list(200, 0.25f);
  for (std::size_t i = 0; i < 200; i += 3) list[i] = -std::numeric_limits<float>::infinity();
  const key_bias bias(relpos::view<const float, 3>(list.data(), {1, 1, 200}));
  expect_both_kernels(in, {},
                      {.element_bias =
                           [&](index_t, index_t, index_t, index_t key) {
                             return static_cast<double>(list[static_cast<std::size_t>(key)]);
                           }},
                      bias);
}

/// Some models hide keys by the lowest float: a row of such keys alone is the mean of its values.
TEST(key_bias, of_the_lowest_float) {
  const inputs<float> in = sizes(5, 40);
  const std::vector<float> list(40, std::numeric_limits<float>::lowest());
  const key_bias bias(relpos::view<const float, 3>(list.data(), {1, 1, 40}));
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    const auto got = attend(in, {.kernel = kernel}, bias);
    for (index_t c = 0; c < 6; ++c) {
      double mean = 0.0;
      for (index_t key = 0; key < 40; ++key) mean += static_cast<double>(in.v(1, 0, key, c)) / 40;
      EXPECT_NEAR(static_cast<double>(got.out(1, 1, 4, c)), mean, 1e-6);
    }
  }
}

TEST(cumulative_bias, of_forget_gates) {
  for (const index_t queries : {1, 3, 300}) {
    const inputs<float> in = sizes(queries, 300);
    for (const double mean : {0.5, 0.97}) {
      for (const index_t heads : {1, 4}) {
        const auto sums = sums_of(2, heads, 300, mean);
        const support::meaning means{.element_bias =
                                         [&](index_t b, index_t h, index_t query, index_t key) {
                                           const index_t list = heads == 1 ? 0 : h;
                                           return sums(b, list, query + 300 - queries) -
                                                  sums(b, list, key);
                                         },
                                     .visible = is_causal};
        expect_both_kernels(in, {}, means, relpos::causal{}, cumulative_bias{sums.view()});
      }
    }
  }
}

/// Positions begin behind a chunk before, and a million positions are summed:
/// as float their differences would be off by 1e-3.
TEST(cumulative_bias, at_far_positions) {
  const index_t offset = 1000000;
  auto sums = sums_of(1, 1, offset + 300, 0.99);
  const inputs<float> in = sizes(20, 280);
  const support::meaning means{.element_bias =
                                   [&](index_t, index_t, index_t query, index_t key) {
                                     return sums(0, 0, query + offset + 260) -
                                            sums(0, 0, key + offset);
                                   },
                               .visible = is_causal,
                               .key_offset = offset};
  expect_both_kernels(in, {.key_offset = offset}, means, relpos::causal{},
                      cumulative_bias{sums.view()});
}

/// Sums that rise, and sums of both signs beside another bias.
TEST(cumulative_bias, may_be_any) {
  const inputs<float> in = sizes(150, 300);
  tensor<double, 3> sums({1, 4, 300});
  support::random_numbers random(9);
  for (double& each : sums.values) each = 40.0 * static_cast<double>(random.uniform());
  const std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0625f};
  const auto list = support::random_tensor({1, 1, 1, 300}, 7);
  expect_both_kernels(in, {},
                      {.bias =
                           [&](index_t head, index_t distance) {
                             return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
                                    static_cast<double>(distance);
                           },
                       .element_bias =
                           [&](index_t, index_t h, index_t query, index_t key) {
                             return sums(0, h, query + 150) - sums(0, h, key) +
                                    static_cast<double>(list(0, 0, 0, key));
                           },
                       .visible = is_causal},
                      cumulative_bias{sums.view()}, relpos::alibi{slopes},
                      key_bias{relpos::view<const float, 3>(list.values.data(), {1, 1, 300})},
                      relpos::causal{});
}

/// Tiles whose weights are exactly zero are left out: their keys are not read.
TEST(cumulative_bias, leaves_out_far_tiles) {
  inputs<float> in = sizes(1200, 1200);
  const auto sums = sums_of(1, 4, 1200, 0.7);
  const auto all = attend(in, {}, relpos::causal{}, cumulative_bias{sums.view()});
  expect_means(all, in,
               {.element_bias = [&](index_t, index_t h, index_t query,
                                    index_t key) { return sums(0, h, query) - sums(0, h, key); },
                .visible = is_causal});
  // An infinite value times a weight of zero would be NaN, if it were multiplied.
  for (index_t head = 0; head < 4; ++head) {
    in.v(head / 2, head % 2, 3, 0) = std::numeric_limits<float>::infinity();
  }
  const auto spoilt = attend(in, {}, relpos::causal{}, cumulative_bias{sums.view()});
  for (index_t row = 1100; row < 1200; ++row) {
    EXPECT_EQ(spoilt.out(1, 3, row, 0), all.out(1, 3, row, 0)) << row;
  }
}

TEST(cumulative_bias, refused) {
  const inputs<float> in = sizes(3, 300);
  const auto refuses = [&](const auto& policy, const relpos::options& opts, const char* text) {
    tensor<float> out({2, 4, 3, 6}, 7.0f);
    std::vector<std::byte> memory(1 << 20);
    const relpos::status done = relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(),
                                                  in.k.view(), in.v.view(), policy, opts);
    EXPECT_EQ(done.code, status_code::invalid_shape);
    EXPECT_NE(std::string(done.message).find(text), std::string::npos) << done.message;
    EXPECT_EQ(out.values, std::vector<float>(out.values.size(), 7.0f));
  };
  const tensor<double, 3> of_heads({3, 4, 300});
  const tensor<double, 3> few({1, 1, 299});
  const tensor<float, 3> three({1, 3, 300});
  refuses(cumulative_bias{of_heads.view()}, {},
          "cumulative_bias: sums: is [3, 4, 300], must be [batch or 1, heads or 1, position], of a "
          "batch of 2 and 4 heads");
  refuses(key_bias{three.view()}, {}, "key_bias: values: is [1, 3, 300]");
  refuses(cumulative_bias{few.view()}, {},
          "cumulative_bias: sums: has 299 positions, but the queries of sequence 0 are at 297 to "
          "299");
  refuses(cumulative_bias{few.view()}, {.query_offset = 0},
          "cumulative_bias: sums: has 299 positions, but the keys of sequence 0 are at 0 to 299");
  refuses(cumulative_bias{few.view()}, {.query_offset = -1, .key_offset = -2}, "are at -1 to 1");
}

}  // namespace
