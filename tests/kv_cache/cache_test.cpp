// Caches of every kind have in common: the bits that they store for a row, ragged growth, far
// positions, other encodings.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kv_cache/caches.hpp"
#include "kv_cache/prefill_and_decode.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::cache_sizes;
using support::inputs;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;
using support::tensor;

const std::vector<float> table = support::random_tensor({1, 1, 32, 4}, 3, 2.0f).values;

/// Rotated keys, as a cache of float holds them, appended as they are.
template <class Stored>
void expect_rounded_once_rotated() {
  const cache_sizes of{.batch = 2, .key_heads = 2, .rows = 530, .head_dim = 24, .value_dim = 5};
  const support::sizes sizes{
      .batch = 2, .key_heads = 2, .key_length = 530, .head_dim = 24, .value_dim = 5};
  const inputs<float> in = support::random_inputs(sizes, 4);
  const relpos::rotary_table xpos(relpos::xpos_frequencies(20), relpos::pair_layout::interleaved);
  own_contiguous<float> exact(of);
  own_contiguous<Stored> once(of);
  own_contiguous<Stored> twice(of);
  support::append_rows(exact, in, 0, 530, relpos::rotary{xpos});
  support::append_rows(once, in, 0, 530, relpos::rotary{xpos});
  support::append_rows(twice, inputs<float>{{}, exact.memory.keys, in.v}, 0, 530);
  EXPECT_TRUE(once.memory == twice.memory);
  EXPECT_FALSE(same_bits(exact.memory.keys, in.k));
  EXPECT_TRUE(same_bits(exact.memory.values, in.v));
}

TEST(cache, keys_are_rounded_once_they_are_rotated) {
  expect_rounded_once_rotated<relpos::bfloat16>();
  expect_rounded_once_rotated<relpos::half>();
  expect_rounded_once_rotated<relpos::int8>();
  expect_rounded_once_rotated<relpos::float8_e4m3>();
}

// A row of zeros has a step of 0, and one that is not finite a step of NaN.
TEST(cache, int8_steps) {
  own_contiguous<relpos::int8> of({.batch = 1, .rows = 4, .head_dim = 3, .value_dim = 1});
  const float big = support::infinity;
  inputs<float> in{{}, tensor<float>({1, 1, 4, 3}), tensor<float>({1, 1, 4, 1}, 1.0f)};
  in.k.values = {0.0f, 0.0f, 0.0f, 254.0f, -3.0f, 5.1f, -127.0f, 0.5f, 126.6f, 1.0f, -big, 2.0f};
  support::append_rows(of, in, 0, 4);
  EXPECT_EQ(of.memory.keys.values,
            (std::vector<relpos::int8>{0, 0, 0, 127, -2, 3, -127, 0, 127, 0, 0, 0}));
  EXPECT_EQ(of.memory.key_scales.values[0], 0.0f);
  EXPECT_EQ(of.memory.key_scales.values[1], 2.0f);
  EXPECT_EQ(of.memory.key_scales.values[2], 1.0f);
  EXPECT_TRUE(std::isnan(of.memory.key_scales.values[3]));
}

// Whatever the size of a row: its numbers, or zeros where its scale would be subnormal.
template <class Stored>
void expect_any_size(float least) {
  for (int power = -140; power < 127; ++power) {
    for (const float mantissa : {1.0f, 1.75f, 1.875f}) {
      const float largest = std::ldexp(mantissa, power);
      own_contiguous<Stored> of({.batch = 1, .rows = 1, .head_dim = 3, .value_dim = 1});
      inputs<float> in{{}, tensor<float>({1, 1, 1, 3}), tensor<float>({1, 1, 1, 1}, 1.0f)};
      in.k.values = {largest, -largest / 2, largest / 3};
      support::append_rows(of, in, 0, 1);
      std::vector<float> row(3);
      of.cache().template keys<relpos::native>(0, 0).load(0, row.data());
      for (std::size_t c = 0; c < 3; ++c) {
        const float wanted = largest < least ? 0.0f : in.k.values[c];
        ASSERT_NEAR(row[c], wanted, std::abs(wanted) / 8.0f) << mantissa << " 2^" << power;
      }
    }
  }
}

TEST(cache, float8_rows_of_any_size) {
  expect_any_size<relpos::float8_e4m3>(0x1p-118f);
  expect_any_size<relpos::float8_e5m2>(0x1p-111f);
}

// 448 and 57344 are the largest numbers; the scale is a power of two.
TEST(cache, float8_scales) {
  const auto scales = []<class Stored>(Stored) {
    own_contiguous<Stored> of({.batch = 1, .rows = 6, .head_dim = 2, .value_dim = 1});
    inputs<float> in{{}, tensor<float>({1, 1, 6, 2}), tensor<float>({1, 1, 6, 1}, 1.0f)};
    in.k.values = {448.0f,   1.0f, -448.1f,   0.0f, 3.5f,
                   0.25f,    0.0f, 0x1p-119f, 1.0f, -support::infinity,
                   0x1p127f, 1.0f};
    support::append_rows(of, in, 0, 6);
    return of.memory.key_scales.values;
  };
  const std::vector<float> e4m3 = scales(relpos::float8_e4m3());
  EXPECT_EQ(e4m3[0], 1.0f);
  EXPECT_EQ(e4m3[1], 2.0f);
  EXPECT_EQ(e4m3[2], 0x1p-7f);
  EXPECT_EQ(e4m3[3], 0.0f);
  EXPECT_TRUE(std::isnan(e4m3[4]));
  EXPECT_EQ(e4m3[5], 0x1p119f);
  const std::vector<float> e5m2 = scales(relpos::float8_e5m2());
  EXPECT_EQ(e5m2[0], 0x1p-7f);
  EXPECT_EQ(e5m2[2], 0x1p-14f);
}

TEST(cache, other_encodings) {
  const auto make = [](const cache_sizes& of) { return own_contiguous<float>(of); };
  const auto pages = [](const cache_sizes& of) { return own_paged<relpos::int8>(of, 16); };
  const relpos::relative_bias logarithmic{[](index_t head, index_t distance) {
    return -0.3 * static_cast<double>(head) * std::log1p(std::abs(static_cast<double>(distance)));
  }};
  for (const support::case_of_lengths& each : support::cases_of_lengths) {
    using contiguous = own_contiguous<float>;
    support::expect_prefill_and_decode<contiguous>(each, make, 0.0);
    support::expect_prefill_and_decode<contiguous>(each, make, 0.0, logarithmic, relpos::causal{});
    support::expect_prefill_and_decode<contiguous>(
        each, make, 0.0, relpos::t5_bias{table, relpos::unidirectional}, relpos::causal{});
    support::expect_prefill_and_decode<own_paged<relpos::int8>>(each, pages, 0.0);
  }
}

/// Rows [starts[i], starts[i + 1]) of `rows` come from row from[i] on of entry i of `of`.
tensor<float> packed(const tensor<float>& of, const std::vector<index_t>& from,
                     const std::vector<index_t>& starts) {
  tensor<float> result({1, of.shape[1], starts.back(), of.shape[3]});
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    for (index_t row = starts[i]; row < starts[i + 1]; ++row) {
      for (index_t head = 0; head < of.shape[1]; ++head) {
        for (index_t c = 0; c < of.shape[3]; ++c) {
          result(index_t{0}, head, row, c) =
              of(static_cast<index_t>(i), head, from[i] + row - starts[i], c);
        }
      }
    }
  }
  return result;
}

template <class Own>
void expect_ragged(Own to) {
  const inputs<float> in = support::random_inputs({.batch = 3,
                                                   .query_heads = 4,
                                                   .key_heads = 2,
                                                   .query_length = 300,
                                                   .key_length = 300,
                                                   .head_dim = 24,
                                                   .value_dim = 5},
                                                  8);
  const std::vector<std::vector<index_t>> steps{{130, 1, 0}, {1, 1, 0}, {40, 0, 129}, {0, 2, 1}};
  std::vector<index_t> have{0, 0, 0};
  for (const std::vector<index_t>& added : steps) {
    std::vector<index_t> starts{0};
    for (const index_t each : added) starts.push_back(starts.back() + each);
    for (index_t i = 0; i < 3; ++i)
      to.make_room(i, to.cache().length(i) + added[static_cast<std::size_t>(i)]);
    const tensor<float> k = packed(in.k, have, starts);
    const tensor<float> v = packed(in.v, have, starts);
    const tensor<float> q = packed(in.q, have, starts);
    ASSERT_TRUE(relpos::append(relpos::serial{}, to.cache(), k.view(), v.view(),
                               relpos::options{.key_starts = starts}));
    std::vector<index_t> all_starts{0};
    for (std::size_t i = 0; i < 3; ++i) {
      have[i] += added[i];
      EXPECT_EQ(to.cache().length(static_cast<index_t>(i)), have[i]);
      all_starts.push_back(all_starts.back() + have[i]);
    }
    const tensor<float> all_k = packed(in.k, {0, 0, 0}, all_starts);
    const tensor<float> all_v = packed(in.v, {0, 0, 0}, all_starts);
    const relpos::options of_reference{.query_starts = starts, .key_starts = all_starts};
    const attended<float> got =
        support::attend_cache(to.cache(), q.view(), relpos::options{.query_starts = starts},
                              relpos::alibi{support::slopes_of_four}, relpos::causal{});
    support::expect_reference(got, q.view(), all_k.view(), all_v.view(), of_reference,
                              relpos::alibi{support::slopes_of_four}, relpos::causal{});
  }
}

TEST(cache, sequences_grow_apart_from_each_other) {
  const cache_sizes of{.batch = 3, .key_heads = 2, .rows = 300, .head_dim = 24, .value_dim = 5};
  expect_ragged(own_contiguous<float>(of));
  expect_ragged(own_ring<float>(of, 2));
  expect_ragged(own_paged<float>(of, 16));
}

template <class... Policies>
void expect_same_far_away(const Policies&... policies) {
  const inputs<float> in = support::random_inputs({.query_heads = 4,
                                                   .key_heads = 2,
                                                   .query_length = 40,
                                                   .key_length = 1100,
                                                   .head_dim = 24,
                                                   .value_dim = 5},
                                                  9);
  const cache_sizes of{.batch = 1, .key_heads = 2, .rows = 1100, .head_dim = 24, .value_dim = 5};
  std::vector<attended<float>> all;
  const index_t far = (index_t{1} << 40) + 3 * 1024;
  for (const relpos::options& opts : {relpos::options{}, relpos::options{.key_offset = far}}) {
    own_ring<float> to(of, 1);
    support::append_rows(to, in, 0, 700, policies..., opts);
    support::append_rows(to, in, 700, 1100, policies..., opts);
    all.push_back(support::attend_cache(to.cache(), in.q.view(), opts, policies...));
    all.push_back(
        support::attend_cache(to.cache(), in.q.view().slice(2, 39, 1), opts, policies...));
  }
  EXPECT_TRUE(same_bits(all[0], all[2]));
  EXPECT_TRUE(same_bits(all[1], all[3]));
}

TEST(cache, far_positions_are_like_near_ones) {
  const relpos::rotary_table rope(relpos::rope_frequencies(24), relpos::pair_layout::half_split);
  expect_same_far_away(relpos::alibi{support::slopes_of_four}, relpos::causal{});
  expect_same_far_away(relpos::rotary{rope}, relpos::causal{});
}

}  // namespace
