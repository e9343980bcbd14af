// 8-bit rows by scales that the caller has found: for each channel, each head, or the whole cache.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "kv_cache/caches.hpp"
#include "kv_cache/stored_rows.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::float8_e4m3;
using relpos::float8_e5m2;
using relpos::index_t;
using relpos::int8;
using relpos::view;
using support::cache_sizes;
using support::inputs;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;
using support::tensor;

/// Scales [key head, channel], and views of them that repeat the first of a head, or of all.
struct scales {
  std::vector<float> values;
  std::array<index_t, 2> shape;

  scales(index_t heads, index_t channels, std::uint32_t seed)
      : values(support::random_tensor({1, 1, heads, channels}, seed).values),
        shape{heads, channels} {
    for (float& each : values) each = 0.004f + 0.01f * std::abs(each);
  }
  view<const float, 2> per_channel() const { return {values.data(), shape}; }
  view<const float, 2> per_head() const { return {values.data(), shape, {shape[1], 0}}; }
  view<const float, 2> per_tensor() const { return {values.data(), shape, {0, 0}}; }
};

/// The number of `Stored` that x becomes, times the scale, by the definition.
template <class Stored>
float stored_number(float x, float scale) {
  const double quotient = static_cast<double>(x) / static_cast<double>(scale);
  double number = 0.0;
  if constexpr (std::is_same_v<Stored, int8>) {
    number = std::clamp(std::nearbyint(quotient), -127.0, 127.0);
  } else {
    number = support::nearest_float8<Stored>(quotient);
  }
  return static_cast<float>(number) * scale;
}

template <class Stored>
tensor<float> stored_rows(tensor<float> rows, const view<const float, 2>& by) {
  for (index_t b = 0; b < rows.shape[0]; ++b) {
    for (index_t h = 0; h < rows.shape[1]; ++h) {
      for (index_t row = 0; row < rows.shape[2]; ++row) {
        for (index_t c = 0; c < rows.shape[3]; ++c) {
          rows(b, h, row, c) = stored_number<Stored>(rows(b, h, row, c), by(h, c));
        }
      }
    }
  }
  return rows;
}

/// A cache of `Own` whose rows have the scales of channels alone.
template <class Own>
auto with_channel_scales(Own& own, const view<const float, 2>& keys,
                         const view<const float, 2>& values) {
  auto cache = own.cache();
  cache.memory.key_scales = {};
  cache.memory.value_scales = {};
  cache.memory.key_channel_scales = keys;
  cache.memory.value_channel_scales = values;
  return cache;
}

template <class Own>
void expect_stored(Own own, const cache_sizes& of, const view<const float, 2>& key_scales,
                   const view<const float, 2>& value_scales) {
  using stored = typename Own::stored;
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 4,
                                          .key_heads = 2,
                                          .query_length = of.rows,
                                          .key_length = of.rows,
                                          .head_dim = of.head_dim,
                                          .value_dim = of.value_dim},
                                         7);
  own.make_room(0, of.rows);
  const auto cache = with_channel_scales(own, key_scales, value_scales);
  for (const auto& [first, last] : {std::pair<index_t, index_t>{0, 100}, {100, of.rows}}) {
    const relpos::status done =
        relpos::append(relpos::serial{}, cache, in.k.view().slice(2, first, last - first),
                       in.v.view().slice(2, first, last - first));
    ASSERT_TRUE(done) << done.message;
  }
  const tensor<float> k = stored_rows<stored>(in.k, key_scales);
  const tensor<float> v = stored_rows<stored>(in.v, value_scales);
  for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    for (const index_t rows : {index_t{1}, index_t{5}}) {
      const relpos::options opts{.kernel = kernel};
      const auto q = in.q.view().slice(2, of.rows - rows, rows);
      support::expect_reference(support::attend_cache(cache, q, opts, relpos::causal{}), q,
                                k.view(), v.view(), opts, relpos::causal{});
    }
  }
}

template <class Stored>
void expect_all_caches() {
  // Rows that are read in place, and rows that are copied.
  for (const auto& [head_dim, value_dim] : {std::pair<index_t, index_t>{64, 64}, {24, 11}}) {
    const cache_sizes of{
        .batch = 1, .key_heads = 2, .rows = 300, .head_dim = head_dim, .value_dim = value_dim};
    const scales keys(2, head_dim, 3);
    const scales values(2, value_dim, 4);
    expect_stored(own_contiguous<Stored>(of), of, keys.per_channel(), values.per_channel());
    expect_stored(own_paged<Stored>(of, 16), of, keys.per_head(), values.per_channel());
    expect_stored(own_ring<Stored>(of), of, keys.per_tensor(), values.per_tensor());
  }
}

TEST(channel_scales, of_int8) { expect_all_caches<int8>(); }
TEST(channel_scales, of_float8) {
  expect_all_caches<float8_e4m3>();
  expect_all_caches<float8_e5m2>();
}

// Queries are rotated before they take the scales of keys.
TEST(channel_scales, of_rotated_keys) {
  const cache_sizes of{.batch = 1, .key_heads = 2, .rows = 600, .head_dim = 64, .value_dim = 64};
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 4,
                                          .key_heads = 2,
                                          .query_length = 600,
                                          .key_length = 600,
                                          .head_dim = 64,
                                          .value_dim = 64},
                                         8);
  const scales keys(2, 64, 5);
  const scales values(2, 64, 6);
  const relpos::rotary_table table(relpos::rope_frequencies(64), relpos::pair_layout::half_split);
  own_contiguous<int8> own(of);
  const auto cache = with_channel_scales(own, keys.per_channel(), values.per_channel());
  ASSERT_TRUE(
      relpos::append(relpos::serial{}, cache, in.k.view(), in.v.view(), relpos::rotary{table}));
  // The same rows with scales of their own, of float.
  own_contiguous<float> wide(of);
  support::append_rows(wide, in, 0, 600, relpos::rotary{table});
  wide.memory.keys = stored_rows<int8>(wide.memory.keys, keys.per_channel());
  wide.memory.values = stored_rows<int8>(wide.memory.values, values.per_channel());
  for (const index_t rows : {index_t{1}, index_t{5}}) {
    const auto q = in.q.view().slice(2, 600 - rows, rows);
    const auto got = support::attend_cache(cache, q, {}, relpos::rotary{table}, relpos::causal{});
    const auto expected =
        support::attend_cache(wide.cache(), q, {}, relpos::rotary{table}, relpos::causal{});
    for (std::size_t i = 0; i < got.out.values.size(); ++i) {
      ASSERT_NEAR(got.out.values[i], expected.out.values[i], 1e-6f);
    }
  }
}

TEST(channel_scales, saturation_and_numbers_that_are_not_finite) {
  const auto rows = []<class Stored>(Stored) {
    own_contiguous<Stored> own({.batch = 1, .rows = 1, .head_dim = 6, .value_dim = 1});
    const std::vector<float> one{0.5f};
    auto cache = with_channel_scales(own, {one.data(), {1, 6}, {0, 0}}, {one.data(), {1, 1}});
    tensor<float> k({1, 1, 1, 6});
    k.values = {1e30f, -support::infinity, support::not_a_number, -0.0f, 0.25f, -1e-42f};
    const tensor<float> v({1, 1, 1, 1}, 1.0f);
    EXPECT_TRUE(relpos::append(relpos::serial{}, cache, k.view(), v.view()));
    std::vector<float> result(6);
    cache.template keys<relpos::native>(0, 0).load(0, result.data());
    return result;
  };
  const std::vector<float> of_int8 = rows(int8());
  EXPECT_EQ(of_int8[0], 63.5f);
  EXPECT_EQ(of_int8[1], -63.5f);
  EXPECT_EQ(of_int8[2], 0.0f);
  EXPECT_EQ(of_int8[3], 0.0f);
  EXPECT_EQ(of_int8[4], 0.0f);  // a tie
  EXPECT_EQ(of_int8[5], 0.0f);
  const std::vector<float> of_e4m3 = rows(float8_e4m3());
  EXPECT_EQ(of_e4m3[0], 224.0f);
  EXPECT_EQ(of_e4m3[1], -224.0f);
  EXPECT_TRUE(std::isnan(of_e4m3[2]));
  EXPECT_EQ(of_e4m3[4], 0.25f);
  const std::vector<float> of_e5m2 = rows(float8_e5m2());
  EXPECT_EQ(of_e5m2[1], -28672.0f);
}

TEST(channel_scales, quotients_beside_a_middle) {
  // 17/16 is the middle of 1 and 9/8. Scales beside 16/17 give quotients that are nearer to it than
  // a float, and are not equal.
  for (float scale = 0.9f; scale < 1.0f; scale += 1.0f / 17.0f / 16.0f) {
    const float near = 17.0f / 16.0f * scale;
    if (static_cast<double>(near) == 17.0 / 16.0 * static_cast<double>(scale)) continue;
    const bool is_above = static_cast<double>(near) > 17.0 / 16.0 * static_cast<double>(scale);
    EXPECT_EQ(static_cast<float>(relpos::quantised<float8_e4m3>(near, scale)),
              is_above ? 1.125f : 1.0f)
        << scale;
  }
  const float scale = 16.0f / 17.0f;
  const float below = std::nextafter(scale, 0.0f);
  const float above = std::nextafter(scale, 1.0f);
  EXPECT_EQ(static_cast<float>(relpos::quantised<float8_e4m3>(1.0f, below)), 1.125f);
  EXPECT_EQ(static_cast<float>(relpos::quantised<float8_e4m3>(1.0f, above)), 1.0f);
  EXPECT_EQ(static_cast<float>(relpos::quantised<float8_e4m3>(17.0f, 16.0f)), 1.0f);
}

template <class Change>
void expect_refused(const std::string& message, const Change& change) {
  const cache_sizes of{.batch = 1, .key_heads = 2, .rows = 4, .head_dim = 8, .value_dim = 8};
  own_contiguous<int8> own(of);
  const scales some(2, 8, 3);
  auto cache = with_channel_scales(own, some.per_channel(), some.per_channel());
  change(cache.memory, own.memory);
  const tensor<float> rows({1, 2, 1, 8}, 1.0f);
  const relpos::status done = relpos::append(relpos::serial{}, cache, rows.view(), rows.view());
  EXPECT_FALSE(done);
  EXPECT_EQ(done.message, message);
  EXPECT_EQ(own.lengths[0], 0);
}

TEST(channel_scales, refused_where_rows_have_none) {
  own_contiguous<relpos::half> own({.rows = 4, .head_dim = 8, .value_dim = 8});
  const std::vector<float> some(8, 1.0f);
  auto cache = own.cache();
  cache.memory.key_channel_scales = view<const float, 2>(some.data(), {1, 8});
  const tensor<float> rows({1, 1, 1, 8}, 1.0f);
  const relpos::status done = relpos::append(relpos::serial{}, cache, rows.view(), rows.view());
  EXPECT_STREQ(done.message,
               "cache.key_channel_scales, value_channel_scales: are given, but only rows of 8 bits "
               "have scales");
}

// The keys of ONNX Runtime's GroupQueryAttention: rotated by their whole position, in codes down
// to -128, by one scale for all or by scales of channels.
TEST(channel_scales, keys_of_onnx_runtime) {
  const cache_sizes of{.batch = 1, .key_heads = 2, .rows = 300, .head_dim = 64, .value_dim = 64};
  own_contiguous<int8> own(of);
  own.lengths[0] = 300;
  support::random_numbers random(5);
  for (auto* const codes : {&own.memory.keys.values, &own.memory.values.values}) {
    for (int8& code : *codes) code = static_cast<int8>(random.between(-128, 127));
  }
  const scales by(2, 64, 9);
  const auto q = support::random_tensor({1, 4, 5, 64}, 10, 0.2f);
  for (const auto& view_of_scales : {by.per_tensor(), by.per_channel()}) {
    const auto cache = with_channel_scales(own, view_of_scales, view_of_scales);
    tensor<float> k({1, 2, 300, 64}), v({1, 2, 300, 64});
    for (index_t h = 0; h < 2; ++h) {
      for (index_t row = 0; row < 300; ++row) {
        for (index_t c = 0; c < 64; ++c) {
          const float scale = view_of_scales(h, c);
          k(0, h, row, c) = static_cast<float>(own.memory.keys(0, h, row, c)) * scale;
          v(0, h, row, c) = static_cast<float>(own.memory.values(0, h, row, c)) * scale;
        }
      }
    }
    for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
      const relpos::options opts{.kernel = kernel};
      support::expect_reference(support::attend_cache(cache, q.view(), opts, relpos::causal{}),
                                q.view(), std::as_const(k).view(), std::as_const(v).view(), opts,
                                relpos::causal{});
    }
  }
}

// Pages keep the scales of channels when they are copied.
TEST(channel_scales, forked_pages) {
  const cache_sizes of{.batch = 2, .key_heads = 1, .rows = 64, .head_dim = 8, .value_dim = 8};
  const scales by(1, 8, 3);
  own_paged<int8> own(of, 16);
  const auto cache = with_channel_scales(own, by.per_channel(), by.per_channel());
  const auto in =
      support::random_inputs({.key_length = 50, .head_dim = 8, .value_dim = 8}, 4, 0.5f);
  const auto append = [&](index_t sequence, index_t first, index_t last) {
    ASSERT_TRUE(own.pool.reserve(cache, sequence, cache.length(sequence) + last - first));
    std::vector<index_t> starts{0, sequence == 0 ? last - first : 0, last - first};
    const relpos::status done = relpos::append(
        relpos::serial{}, cache, in.k.view().slice(2, first, last - first),
        in.v.view().slice(2, first, last - first), relpos::options{.key_starts = starts});
    ASSERT_TRUE(done) << done.message;
  };
  append(0, 0, 40);
  ASSERT_TRUE(own.pool.fork(cache, 0, 1));
  append(1, 40, 50);
  std::vector<float> row(8);
  for (index_t i = 0; i < 50; ++i) {
    cache.keys<relpos::native>(1, 0).load(i, row.data());
    for (index_t c = 0; c < 8; ++c) {
      ASSERT_EQ(row[static_cast<std::size_t>(c)],
                stored_number<int8>(in.k(0, 0, i, c), by.per_channel()(0, c)));
    }
  }
}

TEST(channel_scales, refusals) {
  static const std::vector<float> some(64, 1.0f);
  expect_refused(
      "cache.key_scales: are given, but so are cache.key_channel_scales: rows have one "
      "kind of scales, shapes are [1, 2, 4] and [2, 8]",
      [](auto& memory, auto& own) { memory.key_scales = own.key_scales.view(); });
  expect_refused("cache.value_channel_scales: shape is [2, 7], must be [2, 8]",
                 [](auto& memory, auto&) {
                   memory.value_channel_scales = view<const float, 2>(some.data(), {2, 7});
                 });
  for (const float bad : {0.0f, -1.0f, 1e-40f, support::infinity, support::not_a_number}) {
    static std::vector<float> scales_of_two_heads(16, 1.0f);
    scales_of_two_heads[11] = bad;
    char message[160];
    std::snprintf(message, sizeof message,
                  "cache.key_channel_scales: is %g for head 1 and channel 3, must be finite and at "
                  "least 2^-126",
                  static_cast<double>(bad));
    expect_refused(message, [](auto& memory, auto&) {
      memory.key_channel_scales = view<const float, 2>(scales_of_two_heads.data(), {2, 8});
    });
  }
  expect_refused("cache.value_scales: shape is [0, 0, 0], must be [1, 2, 4]",
                 [](auto& memory, auto&) { memory.value_channel_scales = {}; });
}

}  // namespace
