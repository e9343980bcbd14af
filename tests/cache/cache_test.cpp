// Appending to a cache and attending over it is attention over all rows that were appended, as they
// are stored.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <vector>

#include "cache/caches.hpp"
#include "cache/stored_rows.hpp"
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

const std::vector<float> slopes{0.3f, 0.05f, 0.004f, 0.0f};
const std::vector<float> table = support::random_tensor({1, 1, 32, 4}, 3, 2.0f).values;

/// How far a logit may be from that of exact keys, where keys are rounded after they were turned,
/// by Cauchy and Schwarz: the error of a key times the query. Half a step of 16 bits is a part `u`
/// of each channel, of int8 1 / 254 of the largest. `growth` is what a decaying rotation may add to
/// a key, over the 512 positions of an origin.
template <class Stored>
double logit_error(const inputs<float>& in, double growth) {
  if (std::is_same_v<Stored, float>) return 0.0;
  const auto largest_norm = [](const tensor<float>& of) {
    double result = 0.0;
    const auto channels = static_cast<std::size_t>(of.shape[3]);
    for (std::size_t row = 0; row < of.values.size(); row += channels) {
      double sum = 0.0;
      for (std::size_t c = 0; c < channels; ++c) {
        sum += std::pow(static_cast<double>(of.values[row + c]), 2);
      }
      result = std::max(result, std::sqrt(sum));
    }
    return result;
  };
  const auto channels = static_cast<double>(in.q.shape[3]);
  if constexpr (std::is_same_v<Stored, relpos::int8>) {
    // The query's norm, sqrt(d) steps' halves, 1 / sqrt(d); a turned channel is at most sqrt(2).
    return largest_norm(in.q) * std::sqrt(2.0) * growth / 254.0;
  } else {
    const double u = support::storage_rounding<Stored>();
    return u * largest_norm(in.q) * largest_norm(in.k) / std::sqrt(channels);
  }
}

/// `score_error` may change each weight by e^(2 score_error), of values below 1.
template <class... Policies>
void expect_over(const attended<float>& got, relpos::view<const float, 4> q, const tensor<float>& k,
                 const tensor<float>& v, index_t keys, double score_error,
                 const Policies&... policies) {
  std::vector<double> out, lse;
  std::vector<float> naive_out, naive_lse;
  const auto key_rows = k.view().slice(2, 0, keys);
  const auto value_rows = v.view().slice(2, 0, keys);
  support::run_reference(out, lse, q, key_rows, value_rows, {}, policies...);
  support::run_reference(naive_out, naive_lse, q, key_rows, value_rows, {}, policies...);
  support::expect_close(got.out.values, out,
                        support::float_tolerance(out, naive_out) + std::expm1(2.0 * score_error),
                        "out");
  support::expect_close(got.lse.values, lse,
                        support::float_tolerance(lse, naive_lse, true) + score_error, "lse");
}

struct case_of_lengths {
  index_t length, head_dim, value_dim;
};

// Around tiles of 128 keys and chunks of 1024; channels that are and are not whole vectors.
constexpr std::array<case_of_lengths, 7> cases{{{1, 64, 64},
                                                {127, 24, 11},
                                                {128, 7, 5},
                                                {129, 64, 24},
                                                {1023, 7, 16},
                                                {1025, 24, 7},
                                                {2100, 16, 3}}};

/// Two chunks, then tokens one by one; a few queries of each. `growth` is that of logit_error, 0
/// without a rotation.
template <class Own, class Make, class... Policies>
void expect_prefill_and_decode(const case_of_lengths& of, const Make& make, double growth,
                               const Policies&... policies) {
  using stored_type = typename Own::stored;
  SCOPED_TRACE(testing::Message() << of.length << " rows of " << of.head_dim << " channels");
  const support::sizes sizes{.batch = 1,
                             .query_heads = 4,
                             .key_heads = 2,
                             .query_length = of.length,
                             .key_length = of.length,
                             .head_dim = of.head_dim,
                             .value_dim = of.value_dim};
  const inputs<float> in = support::random_inputs(sizes, static_cast<std::uint32_t>(of.length));
  Own to = make(cache_sizes{.batch = 1,
                            .key_heads = 2,
                            .rows = of.length,
                            .head_dim = of.head_dim,
                            .value_dim = of.value_dim});
  const bool turns = growth > 0.0;
  const tensor<float> k = turns ? in.k : support::stored<stored_type>(in.k);
  const tensor<float> v = support::stored<stored_type>(in.v);
  const double score_error = turns ? logit_error<stored_type>(in, growth) : 0.0;
  index_t first = 0;
  for (const index_t last : {of.length * 2 / 3, of.length - 1, of.length}) {
    if (last <= first) continue;
    SCOPED_TRACE(last);
    support::append_rows(to, in, first, last, policies...);
    // More than 16 rows that share a key head are no decoding.
    const index_t count = std::min<index_t>(last - first, 9);
    const auto q = in.q.view().slice(2, last - count, count);
    expect_over(support::attend_cache(to.cache(), q, {}, policies...), q, k, v, last, score_error,
                policies...);
    first = last;
  }
}

template <class Own, class Make>
void expect_policies(const Make& make) {
  for (const case_of_lengths& each : cases) {
    expect_prefill_and_decode<Own>(each, make, 0.0, relpos::alibi{slopes}, relpos::causal{});
    for (const auto layout : {relpos::pair_layout::half_split, relpos::pair_layout::interleaved}) {
      SCOPED_TRACE(layout == relpos::pair_layout::interleaved ? "interleaved" : "half split");
      const index_t even = each.head_dim / 2 * 2;  // a last channel is not turned
      const relpos::rotary_table rope(relpos::rope_frequencies(even), layout);
      const relpos::rotary_table xpos(relpos::xpos_frequencies(even), layout);
      expect_prefill_and_decode<Own>(each, make, 1.0, relpos::rotary{rope}, relpos::causal{});
      if (each.length > 200) continue;  // the reference raises powers for each pair of each score
      // XPOS: pair i decays by (2i / d + 0.4) / 1.4 over 512 positions, at most 1.4 / 0.4.
      expect_prefill_and_decode<Own>(each, make, 3.5, relpos::rotary{xpos}, relpos::causal{});
    }
  }
}

template <class Stored>
void expect_all_caches() {
  {
    SCOPED_TRACE("contiguous");
    using own = own_contiguous<Stored>;
    expect_policies<own>([](const cache_sizes& of) { return own(of); });
  }
  {
    SCOPED_TRACE("ring");
    using own = own_ring<Stored>;
    expect_policies<own>(
        [](const cache_sizes& of) { return own(of, std::min<index_t>(2, of.rows - 1)); });
  }
  {
    SCOPED_TRACE("paged");
    using own = own_paged<Stored>;
    expect_policies<own>(
        [](const cache_sizes& of) { return own(of, of.head_dim == 24 ? 16 : 48); });
  }
}

TEST(cache, of_float_is_the_reference_over_all_rows) { expect_all_caches<float>(); }
TEST(cache, of_bfloat16_is_the_reference_over_rounded_rows) {
  expect_all_caches<relpos::bfloat16>();
}
TEST(cache, of_half_is_the_reference_over_rounded_rows) { expect_all_caches<relpos::half>(); }
TEST(cache, of_int8_is_the_reference_over_rounded_rows) { expect_all_caches<relpos::int8>(); }

/// Turned keys, as a cache of float holds them, appended as they are.
template <class Stored>
void expect_rounded_once_turned() {
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

TEST(cache, keys_are_rounded_once_they_are_turned) {
  expect_rounded_once_turned<relpos::bfloat16>();
  expect_rounded_once_turned<relpos::half>();
  expect_rounded_once_turned<relpos::int8>();
}

// Of a row of zeros and one that is not finite: a step of 0, and of NaN.
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

TEST(cache, other_encodings) {
  const auto make = [](const cache_sizes& of) { return own_contiguous<float>(of); };
  const auto pages = [](const cache_sizes& of) { return own_paged<relpos::int8>(of, 16); };
  const relpos::relative_bias logarithmic{[](index_t head, index_t distance) {
    return -0.3 * static_cast<double>(head) * std::log1p(std::abs(static_cast<double>(distance)));
  }};
  for (const case_of_lengths& each : cases) {
    using contiguous = own_contiguous<float>;
    expect_prefill_and_decode<contiguous>(each, make, 0.0);
    expect_prefill_and_decode<contiguous>(each, make, 0.0, logarithmic, relpos::causal{});
    expect_prefill_and_decode<contiguous>(
        each, make, 0.0, relpos::t5_bias{table, relpos::unidirectional}, relpos::causal{});
    expect_prefill_and_decode<own_paged<relpos::int8>>(each, pages, 0.0);
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
                              relpos::alibi{slopes}, relpos::causal{});
    support::expect_reference(got, q.view(), all_k.view(), all_v.view(), of_reference,
                              relpos::alibi{slopes}, relpos::causal{});
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
  for (const relpos::options& choice : {relpos::options{}, relpos::options{.key_offset = far}}) {
    own_ring<float> to(of, 1);
    support::append_rows(to, in, 0, 700, policies..., choice);
    support::append_rows(to, in, 700, 1100, policies..., choice);
    all.push_back(support::attend_cache(to.cache(), in.q.view(), choice, policies...));
    all.push_back(
        support::attend_cache(to.cache(), in.q.view().slice(2, 39, 1), choice, policies...));
  }
  EXPECT_TRUE(same_bits(all[0], all[2]));
  EXPECT_TRUE(same_bits(all[1], all[3]));
}

TEST(cache, far_positions_are_like_near_ones) {
  const relpos::rotary_table rope(relpos::rope_frequencies(24), relpos::pair_layout::half_split);
  expect_same_far_away(relpos::alibi{slopes}, relpos::causal{});
  expect_same_far_away(relpos::rotary{rope}, relpos::causal{});
}

}  // namespace
