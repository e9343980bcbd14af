// Products of bfloat16 numbers: how exact they are, and that rows keep their bits.

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/executors.hpp"
#include "support/layouts.hpp"
#include "support/naive.hpp"
#include "support/reference.hpp"

namespace {

using relpos::bfloat16;
using relpos::index_t;
using relpos::options;
using support::attended;
using support::inputs;
using support::sizes;

/// The instruction set of this program, or else plain arrays, which multiply pairs and matrices.
using instruction_sets =
    std::conditional_t<relpos::has_pair_products<relpos::native>, testing::Types<relpos::native>,
                       testing::Types<relpos::generic<4>, relpos::generic<16, true>>>;

template <class Isa>
class bfloat16_products : public testing::Test {};
TYPED_TEST_SUITE(bfloat16_products, instruction_sets, );

options in_pairs(options opts = {}) {
  opts.arithmetic = relpos::arithmetic_type::bfloat16;
  opts.kernel = relpos::kernel_class::prefill;
  return opts;
}

template <class Isa, class... Policies>
attended<float> attend_pairs(const inputs<bfloat16>& in, const options& opts,
                             const Policies&... policies) {
  return support::attend<Isa>(in, in_pairs(opts), policies...);
}

/// The error against float64 is at most twice the error of the plain computation with the same
/// rounding.
template <class Isa, class... Policies>
void expect_as_exact(const inputs<bfloat16>& in, const options& opts, support::meaning means,
                     const Policies&... policies) {
  const attended<float> got = attend_pairs<Isa>(in, opts, policies...);
  const auto exact = support::naive_attention<double>(in, means);
  means.rounds_operands = true;
  const auto rounded = support::naive_attention<float>(in, means);
  support::expect_close(got.out.values, exact.out, support::float_tolerance(exact.out, rounded.out),
                        "out");
  support::expect_close(got.lse.values, exact.lse,
                        support::float_tolerance(exact.lse, rounded.lse, true), "lse");
}

const std::vector<float> slopes{0.3f, 0.02f, 0.11f, 1.5f};

constexpr sizes shapes[] = {{.batch = 2,
                             .query_heads = 4,
                             .key_heads = 2,
                             .query_length = 35,
                             .key_length = 300,
                             .head_dim = 64,
                             .value_dim = 64},
                            {.batch = 1,
                             .query_heads = 4,
                             .key_heads = 1,
                             .query_length = 130,
                             .key_length = 131,
                             .head_dim = 19,
                             .value_dim = 37},
                            {.batch = 1,
                             .query_heads = 4,
                             .key_heads = 4,
                             .query_length = 40,
                             .key_length = 290,
                             .head_dim = 128,
                             .value_dim = 128},
                            {.batch = 1,
                             .query_heads = 4,
                             .key_heads = 4,
                             .query_length = 3,
                             .key_length = 2,
                             .head_dim = 1,
                             .value_dim = 1}};

const auto is_causal = [](index_t, index_t q, index_t k) { return k <= q; };

TYPED_TEST(bfloat16_products, without_policies) {
  for (const sizes& of : shapes) {
    expect_as_exact<TypeParam>(support::random_inputs<bfloat16>(of, 3), {}, {});
  }
}

TYPED_TEST(bfloat16_products, bias_and_mask) {
  const auto bias = [](index_t head, index_t distance) {
    return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
           static_cast<double>(distance);
  };
  for (const sizes& of : shapes) {
    expect_as_exact<TypeParam>(support::random_inputs<bfloat16>(of, 4), {},
                               {.bias = bias, .visible = is_causal}, relpos::alibi{slopes},
                               relpos::causal{});
  }
}

// The matrix ends with the last key: nothing reads an element for the key that a pair lacks.
TYPED_TEST(bfloat16_products, matrix) {
  const auto in = support::random_inputs<bfloat16>(shapes[1], 16);
  const auto matrix = support::random_tensor({1, 4, 130, 131}, 17);
  const auto bias = [&](index_t, index_t head, index_t row, index_t key) {
    return static_cast<double>(matrix(0, head, row, key));
  };
  expect_as_exact<TypeParam>(in, {}, {.element_bias = bias}, relpos::additive_bias{matrix.view()});
}

TYPED_TEST(bfloat16_products, softcap_sink_and_temperature) {
  const std::vector<float> sinks{0.5f, -1.0f, 2.0f, 0.0f};
  const auto sink = [&](index_t head) {
    return static_cast<double>(sinks[static_cast<std::size_t>(head)]);
  };
  for (const sizes& of : shapes) {
    expect_as_exact<TypeParam>(
        support::random_inputs<bfloat16>(of, 5), {.softcap = 2.0f},
        {.visible = is_causal, .sink = sink, .softcap = 2.0, .temperature = 0.8f},
        relpos::sink_logits{sinks}, relpos::temperature{0.8f}, relpos::causal{});
  }
}

TYPED_TEST(bfloat16_products, rotation) {
  const relpos::rotary_table table(relpos::rope_frequencies(18), relpos::pair_layout::half_split);
  const support::rotary_meaning rotation{.rotary_dim = 18, .theta = [](index_t pair) {
                                           return std::pow(10000.0,
                                                           -2.0 * static_cast<double>(pair) / 18.0);
                                         }};
  sizes several_blocks = shapes[1];
  several_blocks.key_length = 600;
  for (const sizes& of : {shapes[0], shapes[2], several_blocks}) {
    expect_as_exact<TypeParam>(support::random_inputs<bfloat16>(of, 6), {},
                               {.visible = is_causal, .rotation = rotation}, relpos::rotary{table},
                               relpos::causal{});
  }
}

/// Rows [first, last) of queries, and the keys [first_key, last_key) alone.
inputs<bfloat16> part_of(const inputs<bfloat16>& in, index_t first, index_t last, index_t first_key,
                         index_t last_key) {
  const auto rows = [](const support::tensor<bfloat16>& of, index_t begin, index_t end) {
    support::tensor<bfloat16> result({of.shape[0], of.shape[1], end - begin, of.shape[3]});
    for (index_t b = 0; b < of.shape[0]; ++b) {
      for (index_t h = 0; h < of.shape[1]; ++h) {
        for (index_t row = begin; row < end; ++row) {
          for (index_t c = 0; c < of.shape[3]; ++c) result(b, h, row - begin, c) = of(b, h, row, c);
        }
      }
    }
    return result;
  };
  return {rows(in.q, first, last), rows(in.k, first_key, last_key),
          rows(in.v, first_key, last_key)};
}

void expect_rows(const attended<float>& got, const attended<float>& whole, index_t first) {
  for (index_t h = 0; h < got.out.shape[1]; ++h) {
    for (index_t row = 0; row < got.out.shape[2]; ++row) {
      ASSERT_EQ(got.lse(0, h, row), whole.lse(0, h, first + row)) << first + row;
      for (index_t c = 0; c < got.out.shape[3]; ++c) {
        ASSERT_EQ(got.out(0, h, row, c), whole.out(0, h, first + row, c)) << first + row;
      }
    }
  }
}

const sizes square{.batch = 1,
                   .query_heads = 4,
                   .key_heads = 2,
                   .query_length = 300,
                   .key_length = 300,
                   .head_dim = 20,
                   .value_dim = 24};

// A pair may have both keys, or only the first or the second of them.
TYPED_TEST(bfloat16_products, rows_keep_their_bits_however_keys_are_cut) {
  const auto in = support::random_inputs<bfloat16>(square, 7);
  for (const index_t key_offset : {index_t{0}, index_t{1}, index_t{1001}}) {
    const options opts{.query_offset = key_offset, .key_offset = key_offset};
    const auto whole = attend_pairs<TypeParam>(in, opts, relpos::alibi{slopes}, relpos::causal{});
    for (const auto& [first, last] : {std::pair<index_t, index_t>{0, 1},
                                      {0, 131},
                                      {1, 2},
                                      {127, 300},
                                      {128, 257},
                                      {299, 300}}) {
      const options cut{.query_offset = key_offset + first, .key_offset = key_offset};
      expect_rows(attend_pairs<TypeParam>(part_of(in, first, last, 0, last), cut,
                                          relpos::alibi{slopes}, relpos::causal{}),
                  whole, first);
    }
    const auto window = attend_pairs<TypeParam>(in, opts, relpos::sliding_window{40});
    for (const index_t first : {41, 100, 128, 169, 170, 299}) {
      const options cut{.query_offset = key_offset + first, .key_offset = key_offset + first - 39};
      expect_rows(attend_pairs<TypeParam>(part_of(in, first, 300, first - 39, 300), cut,
                                          relpos::sliding_window{40}),
                  window, first);
    }
  }
}

TYPED_TEST(bfloat16_products, any_executor) {
  const auto in = support::random_inputs<bfloat16>(square, 8);
  const relpos::rotary_table table(relpos::rope_frequencies(20), relpos::pair_layout::interleaved);
  const auto on = [&](const auto& runner) {
    return support::attend_on<TypeParam>(runner, std::as_const(in.q).view(),
                                         std::as_const(in.k).view(), std::as_const(in.v).view(),
                                         in_pairs(), relpos::rotary{table}, relpos::causal{});
  };
  EXPECT_TRUE(same_bits(on(relpos::serial{}), on(support::shuffled{})));
  EXPECT_TRUE(same_bits(on(relpos::serial{}), on(support::threaded{})));
}

/// Sees every third key, and says nothing of tiles.
struct every_third {
  bool keep(index_t, index_t k_pos) const { return k_pos % 3 == 0; }
};

/// `in` with infinite or NaN rows, of keys and values or of values alone.
template <class Hidden>
inputs<bfloat16> poisoned(const inputs<bfloat16>& in, float poison, bool keys_too,
                          const Hidden& is_hidden) {
  inputs<bfloat16> result = in;
  const auto fill = [&](support::tensor<bfloat16>& rows) {
    for (index_t h = 0; h < rows.shape[1]; ++h) {
      for (index_t key = 0; key < rows.shape[2]; ++key) {
        if (!is_hidden(key)) continue;
        for (index_t c = 0; c < rows.shape[3]; ++c) rows(0, h, key, c) = bfloat16(poison);
      }
    }
  };
  if (keys_too) fill(result.k);
  fill(result.v);
  return result;
}

TYPED_TEST(bfloat16_products, hidden_keys_have_no_influence) {
  const auto in = support::random_inputs<bfloat16>(square, 9);
  const auto elements = attend_pairs<TypeParam>(in, {}, every_third{});
  const auto causal = attend_pairs<TypeParam>(in, {}, relpos::causal{});
  for (const float poison : {support::not_a_number, support::infinity}) {
    const auto two_of_three = poisoned(in, poison, true, [](index_t key) { return key % 3 != 0; });
    EXPECT_TRUE(same_bits(elements, attend_pairs<TypeParam>(two_of_three, {}, every_third{})));
    for (const index_t row : {0, 1, 126, 127, 128, 200}) {
      for (const bool keys_too : {false, true}) {
        const auto later = poisoned(in, poison, keys_too, [&](index_t key) { return key > row; });
        const auto got = attend_pairs<TypeParam>(later, {}, relpos::causal{});
        for (index_t h = 0; h < 4; ++h) {
          for (index_t c = 0; c < 24; ++c) {
            ASSERT_EQ(got.out(0, h, row, c), causal.out(0, h, row, c));
            // The next row sees one of them.
            ASSERT_FALSE(std::isfinite(got.out(0, h, row + 1, c)));
          }
        }
      }
    }
  }
}

// Infinite values of keys that all queries see reach their channel and no other.
TYPED_TEST(bfloat16_products, infinite_values_stay_in_their_channel) {
  for (const bool some_keys_are_hidden : {false, true}) {
    auto in = support::random_inputs<bfloat16>(square, 23);
    in.v(0, 0, 3, 5) = bfloat16(support::infinity);
    in.v(0, 0, 42, 17) = bfloat16(-support::infinity);
    in.v(0, 1, 0, 23) = bfloat16(support::infinity);
    const auto got = some_keys_are_hidden ? attend_pairs<TypeParam>(in, {}, every_third{})
                                          : attend_pairs<TypeParam>(in, {});
    for (index_t h = 0; h < 4; ++h) {
      for (index_t row = 0; row < 300; ++row) {
        for (index_t c = 0; c < 24; ++c) {
          const float x = got.out(0, h, row, c);
          if (h < 2 && c == 5) {
            ASSERT_EQ(x, support::infinity);
          } else if (h < 2 && c == 17) {
            ASSERT_EQ(x, -support::infinity);
          } else if (h >= 2 && c == 23) {
            ASSERT_EQ(x, support::infinity);
          } else {
            ASSERT_TRUE(std::isfinite(x)) << h << ' ' << row << ' ' << c;
          }
        }
      }
    }
  }
}

TYPED_TEST(bfloat16_products, statistics_change_no_bit) {
  const auto in = support::random_inputs<bfloat16>(shapes[1], 10);
  support::tensor<float, 3> entropy({1, 4, 130}), mean({1, 4, 130});
  const auto plain = attend_pairs<TypeParam>(in, {}, relpos::alibi{slopes}, relpos::causal{});
  const auto with = attend_pairs<TypeParam>(
      in, {.statistics = {.entropy = entropy.view(), .logit_mean = mean.view()}},
      relpos::alibi{slopes}, relpos::causal{});
  EXPECT_TRUE(same_bits(plain, with));
  const auto exact = support::naive_attention<double>(
      in, {.bias =
               [](index_t head, index_t distance) {
                 return static_cast<double>(slopes[static_cast<std::size_t>(head)]) *
                        static_cast<double>(distance);
               },
           .visible = is_causal});
  support::expect_close(entropy.values, exact.statistics.entropy, 1e-4, "entropy");
  support::expect_close(mean.values, exact.statistics.logit_mean, 1e-4, "mean");
}

TYPED_TEST(bfloat16_products, rows_in_any_layout_and_of_other_queries) {
  const auto in = support::random_inputs<bfloat16>(shapes[1], 11);
  const auto q = std::as_const(in.q).view();
  const auto k = support::lay_out(in.k, {0, 1, 150, 2});
  const auto v = support::lay_out(in.v, {0, 1, 3, 400});
  const auto plain = attend_pairs<TypeParam>(in, {}, relpos::causal{});
  EXPECT_TRUE(same_bits(
      plain, support::attend<TypeParam>(q, k.view(), v.view(), in_pairs(), relpos::causal{})));
  support::tensor<float> wide(in.q.shape);
  for (std::size_t i = 0; i < wide.values.size(); ++i) {
    wide.values[i] = static_cast<float>(in.q.values[i]);
  }
  EXPECT_TRUE(same_bits(
      plain, support::attend<TypeParam>(std::as_const(wide).view(), std::as_const(in.k).view(),
                                        std::as_const(in.v).view(), in_pairs(), relpos::causal{})));
}

TYPED_TEST(bfloat16_products, far_tiles_are_left_out) {
  const auto in = support::random_inputs<bfloat16>({.batch = 1,
                                                    .query_heads = 4,
                                                    .key_heads = 1,
                                                    .query_length = 250,
                                                    .key_length = 1500,
                                                    .head_dim = 8,
                                                    .value_dim = 4},
                                                   12);
  // Moments of logits take all keys.
  support::tensor<float, 3> count({1, 4, 250});
  const std::vector<float> steep{8.0f, 1.0f, 0.25f, 0.03f};
  const auto all = attend_pairs<TypeParam>(in, {.statistics = {.logit_count = count.view()}},
                                           relpos::alibi{steep}, relpos::causal{});
  EXPECT_TRUE(
      same_bits(attend_pairs<TypeParam>(in, {}, relpos::alibi{steep}, relpos::causal{}), all));
}

TYPED_TEST(bfloat16_products, caches) {
  const auto in = support::random_inputs<bfloat16>(square, 13);
  const relpos::rotary_table table(relpos::rope_frequencies(20), relpos::pair_layout::half_split);
  const support::cache_sizes of{
      .batch = 1, .key_heads = 2, .rows = 300, .head_dim = 20, .value_dim = 24};
  const auto expect = [&](auto own, double tolerance, const auto&... rotation) {
    append_rows(own, in, 0, 131, rotation...);
    append_rows(own, in, 131, 300, rotation...);
    const auto got =
        support::attend_watched<TypeParam>(relpos::serial{}, std::as_const(in.q).view(), 24,
                                           in_pairs(), own.cache(), rotation..., relpos::causal{});
    const auto tensors = attend_pairs<TypeParam>(in, {}, rotation..., relpos::causal{});
    for (std::size_t i = 0; i < got.out.values.size(); ++i) {
      ASSERT_NEAR(got.out.values[i], tensors.out.values[i], tolerance);
    }
  };
  expect(support::own_contiguous<bfloat16>(of), 0.0);
  expect(support::own_paged<bfloat16>(of, 7), 0.0);
  expect(support::own_ring<bfloat16>(of), 0.0);
  // A cache stores rotated keys rounded, as the product takes them.
  expect(support::own_contiguous<bfloat16>(of), 0.0, relpos::rotary{table});
}

/// As with float32 products, apart from the rounding of weights, which moves an output by less than
/// 2^-8 of the largest value, and of rotated rows.
template <class Isa, class... Policies>
void expect_near_float32(const options& opts, const Policies&... policies) {
  const auto in = support::random_inputs<bfloat16>(square, 18);
  options in_float = opts;
  in_float.kernel = relpos::kernel_class::prefill;
  const auto got = attend_pairs<Isa>(in, opts, policies...);
  const auto wanted = support::attend<Isa>(in, in_float, policies...);
  for (std::size_t i = 0; i < got.out.values.size(); ++i) {
    ASSERT_NEAR(got.out.values[i], wanted.out.values[i], 0x1p-6f) << i;
  }
  for (std::size_t i = 0; i < got.lse.values.size(); ++i) {
    ASSERT_NEAR(got.lse.values[i], wanted.lse.values[i], 0.05f) << i;
  }
}

TYPED_TEST(bfloat16_products, other_policies) {
  const std::vector<float> table = support::random_tensor({1, 1, 32, 4}, 19).values;
  expect_near_float32<TypeParam>({.scale = 0.25f}, relpos::t5_bias{table, relpos::bidirectional});
  const auto coefficients = support::random_tensor({1, 4, 300, 5}, 20);
  const auto tables = support::random_tensor({1, 1, 5, 299}, 21);
  expect_near_float32<TypeParam>(
      {}, relpos::causal{},
      relpos::mixed_bias{coefficients.view(),
                         relpos::view<const float, 3>(tables.values.data(), {1, 5, 299}), -298});
  expect_near_float32<TypeParam>({}, relpos::causal{}, relpos::softcap_after_bias{3.0f},
                                 relpos::alibi{slopes});
  expect_near_float32<TypeParam>({}, relpos::causal{}, relpos::log_n{100});
  const std::vector<index_t> starts{0, 17, 130, 300};
  expect_near_float32<TypeParam>({}, relpos::documents{starts}, relpos::causal{});
  std::vector<std::int32_t> list(300 * 40);
  for (std::size_t i = 0; i < list.size(); ++i) {
    list[i] = static_cast<std::int32_t>(i / 40 * 13 % 200 + i % 40);
  }
  expect_near_float32<TypeParam>(
      {}, relpos::selected_keys{relpos::view<const std::int32_t, 4>(list.data(), {1, 1, 300, 40})});
  std::vector<index_t> positions(300);
  for (std::size_t i = 0; i < 300; ++i) positions[i] = static_cast<index_t>(i * 7 % 1000);
  const relpos::view<const index_t, 2> at(positions.data(), {1, 300});
  const relpos::rotary_table rope(relpos::rope_frequencies(20), relpos::pair_layout::half_split);
  expect_near_float32<TypeParam>({}, relpos::rotary{rope}, relpos::token_positions{at, at},
                                 relpos::causal{});
}

TYPED_TEST(bfloat16_products, ragged_batch) {
  const auto in = support::random_inputs<bfloat16>(square, 22);
  const std::vector<index_t> starts{0, 131, 132, 300};
  const auto whole = attend_pairs<TypeParam>(in, {.query_starts = starts, .key_starts = starts},
                                             relpos::alibi{slopes}, relpos::causal{});
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    const auto alone =
        attend_pairs<TypeParam>(part_of(in, starts[i], starts[i + 1], starts[i], starts[i + 1]), {},
                                relpos::alibi{slopes}, relpos::causal{});
    expect_rows(alone, whole, starts[i]);
  }
}

TYPED_TEST(bfloat16_products, float32_where_pairs_do_not_help) {
  const auto in = support::random_inputs<bfloat16>(shapes[0], 14);
  const options in_float{.kernel = relpos::kernel_class::prefill};
  EXPECT_TRUE(same_bits(support::attend<relpos::vector128>(in, in_pairs(), relpos::causal{}),
                        support::attend<relpos::vector128>(in, in_float, relpos::causal{})));
  const options decoded{.kernel = relpos::kernel_class::decode};
  options decoded_in_pairs = decoded;
  decoded_in_pairs.arithmetic = relpos::arithmetic_type::bfloat16;
  EXPECT_TRUE(same_bits(support::attend<TypeParam>(in, decoded_in_pairs, relpos::causal{}),
                        support::attend<TypeParam>(in, decoded, relpos::causal{})));
}

TYPED_TEST(bfloat16_products, other_types_of_keys_and_values_are_refused) {
  const auto in = support::random_inputs<float>(shapes[3], 15);
  support::tensor<float> out(in.q.shape, 7.0f);
  std::vector<std::byte> memory(1 << 16);
  const relpos::status done = relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(),
                                                in.k.view(), in.v.view(), in_pairs());
  EXPECT_EQ(done.code, relpos::status_code::invalid_value);
  EXPECT_STREQ(done.message, "options.arithmetic: is bfloat16, k and v must hold bfloat16");
  EXPECT_EQ(out.values[0], 7.0f);
  EXPECT_EQ(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(), in.v.view(), in_pairs()),
      0u);
}

}  // namespace
