// Prefill on the GPU against the reference: shapes around the edges of tiles and blocks, types,
// offsets, and what masks hide.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "cuda/expect_device.hpp"
#include "relpos/policies.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::bfloat16;
using relpos::half;
using relpos::index_t;
using support::expect_device;
using support::inputs;
using support::random_inputs;
using support::sizes;

using prefill = support::device_test;

const std::vector<float> slopes{0.3f, 0.02f};
const std::vector<float> four_slopes{0.3f, 0.02f, 0.11f, 0.004f};

template <class T, int HeadDim>
inputs<T> inputs_of(index_t queries, index_t keys, index_t batch = 1, index_t heads = 2,
                    index_t key_heads = 1) {
  return random_inputs<T>({.batch = batch,
                           .query_heads = heads,
                           .key_heads = key_heads,
                           .query_length = queries,
                           .key_length = keys,
                           .head_dim = HeadDim,
                           .value_dim = HeadDim},
                          static_cast<std::uint32_t>(queries * 7 + keys));
}

template <class T, int HeadDim>
void expect_lengths(std::initializer_list<index_t> lengths) {
  for (const index_t queries : lengths) {
    for (const index_t keys : lengths) {
      SCOPED_TRACE(testing::Message() << queries << " queries, " << keys << " keys");
      expect_device<HeadDim>(inputs_of<T, HeadDim>(queries, keys), {}, relpos::alibi{slopes},
                             relpos::causal{});
    }
  }
}

TEST_F(prefill, of_half_at_64) { expect_lengths<half, 64>({1, 2, 15, 16, 17, 63, 64, 65, 129}); }
TEST_F(prefill, of_bfloat16_at_96) { expect_lengths<bfloat16, 96>({1, 64, 65, 130}); }
TEST_F(prefill, of_bfloat16_at_128) { expect_lengths<bfloat16, 128>({1, 64, 65, 130}); }
TEST_F(prefill, of_half_at_256) { expect_lengths<half, 256>({1, 31, 33, 65, 130}); }

TEST_F(prefill, of_float_at_64) { expect_lengths<float, 64>({1, 17, 64, 65, 130}); }
TEST_F(prefill, of_float_at_128) { expect_lengths<float, 128>({1, 33, 130}); }
TEST_F(prefill, of_float_at_256) { expect_lengths<float, 256>({1, 33, 65}); }

/// Rounded once, where rows begin.
template <class T>
void expect_rounded_outputs(index_t queries) {
  const auto in = inputs_of<T, 64>(queries, 90);
  const auto exact = support::attend_on_device<64>(in, {}, relpos::causal{}).out.values;
  const auto got = support::attend_on_device<64, T>(in, {}, relpos::causal{}).out.values;
  ASSERT_EQ(got.size(), exact.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i].bits, T(exact[i]).bits) << i;
}

TEST_F(prefill, outputs_of_16_bits) {
  for (const index_t queries : {1, 70}) {
    expect_rounded_outputs<half>(queries);
    expect_rounded_outputs<bfloat16>(queries);
  }
}

TEST_F(prefill, without_policies) {
  expect_device<64>(inputs_of<half, 64>(70, 150), {});
  expect_device<64>(inputs_of<half, 64>(70, 0), {});
  expect_device<64>(inputs_of<half, 64>(0, 70), {});
}

TEST_F(prefill, heads_that_share_keys_in_a_batch) {
  for (const index_t key_heads : {1, 2, 4}) {
    expect_device<64>(inputs_of<half, 64>(65, 130, 2, 4, key_heads), {}, relpos::alibi{four_slopes},
                      relpos::causal{});
  }
}

TEST_F(prefill, positions_from_offsets) {
  const auto in = inputs_of<half, 64>(70, 150);
  for (const index_t key_offset : {index_t{0}, index_t{5}, index_t{-77}, (index_t{1} << 40) + 3}) {
    for (const index_t query_offset : {key_offset, key_offset + 80, key_offset - 30}) {
      SCOPED_TRACE(testing::Message() << query_offset << ", " << key_offset);
      expect_device<64>(in, {.query_offset = query_offset, .key_offset = key_offset},
                        relpos::alibi{slopes}, relpos::causal{});
    }
  }
}

TEST_F(prefill, positions_of_each_sequence) {
  const auto in = inputs_of<half, 64>(20, 100, 3);
  const std::vector<index_t> query_offsets{80, index_t{1} << 40, 1000};
  const std::vector<index_t> key_offsets{0, (index_t{1} << 40) - 70, 950};
  const relpos::options opts{.query_offsets = query_offsets, .key_offsets = key_offsets};
  expect_device<64>(in, opts, relpos::alibi{slopes}, relpos::causal{});
}

TEST_F(prefill, ragged_batches) {
  const auto in = inputs_of<half, 64>(100, 230);
  const std::vector<index_t> queries{0, 1, 1, 70, 100};
  const std::vector<index_t> keys{0, 3, 40, 130, 230};
  expect_device<64>(in, {.query_starts = queries, .key_starts = keys}, relpos::alibi{slopes},
                    relpos::causal{});
}

/// The statistics of rows, in memory that the device writes.
struct told {
  explicit told(std::size_t rows)
      : max_probability(rows, support::not_a_number),
        entropy(rows, support::not_a_number),
        logit_count(rows, support::not_a_number),
        logit_mean(rows, support::not_a_number),
        logit_variance(rows, support::not_a_number) {}

  support::device_array<float> max_probability, entropy, logit_count, logit_mean, logit_variance;

  relpos::row_statistics views(const std::array<index_t, 3>& shape) {
    const auto of = [&](support::device_array<float>& rows) {
      return relpos::view<float, 3>(rows.data(), shape);
    };
    return {of(max_probability), of(entropy), of(logit_count), of(logit_mean), of(logit_variance)};
  }
};

/// The statistics of the reference, in `Real`.
template <class Real, class... Policies>
support::naive_statistics<Real> statistics_of_reference(const inputs<float>& in,
                                                        relpos::options opts,
                                                        const Policies&... policies) {
  support::collected rows(support::rows_of(in));
  opts.statistics = rows.views();
  std::vector<Real> out, lse;
  support::run_reference(out, lse, in.q.view(), in.k.view(), in.v.view(), opts, policies...);
  const auto of = [](const support::tensor<float, 3>& from) {
    return std::vector<Real>(from.values.begin(), from.values.end());
  };
  return {of(rows.max_probability), of(rows.entropy), of(rows.logit_count), of(rows.logit_mean),
          of(rows.logit_variance)};
}

template <class... Policies>
void expect_statistics(const inputs<float>& in, relpos::options opts, const Policies&... policies) {
  const auto shape = support::rows_of(in);
  told rows(static_cast<std::size_t>(shape[0] * shape[1] * shape[2]));
  opts.kernel = relpos::kernel_class::prefill;  // as in calls with statistics
  const auto plain = support::attend_on_device<64>(in, opts, policies...);
  relpos::options asked = opts;
  asked.statistics = rows.views(shape);
  const auto got = support::attend_on_device<64>(in, asked, policies...);
  EXPECT_TRUE(support::same_bits(got.out, plain.out));
  EXPECT_TRUE(support::same_bits(got.lse, plain.lse));
  support::collected result(shape);
  const auto take = [](const support::device_array<float>& from, support::tensor<float, 3>& to) {
    std::copy(from.data(), from.data() + from.size(), to.values.begin());
  };
  take(rows.max_probability, result.max_probability);
  take(rows.entropy, result.entropy);
  take(rows.logit_count, result.logit_count);
  take(rows.logit_mean, result.logit_mean);
  take(rows.logit_variance, result.logit_variance);
  support::expect_statistics(result, statistics_of_reference<double>(in, opts, policies...),
                             statistics_of_reference<float>(in, opts, policies...));
}

TEST_F(prefill, statistics_of_rows) {
  expect_statistics(inputs_of<float, 64>(130, 150), {}, relpos::alibi{slopes}, relpos::causal{});
  // Tiles whose weights are zero have logits.
  const std::vector<float> steep{20.0f, 0.5f};
  expect_statistics(inputs_of<float, 64>(130, 300), {}, relpos::alibi{steep}, relpos::causal{});
  // Rows that see no key, and few queries.
  expect_statistics(inputs_of<float, 64>(70, 90), {.query_offset = -30}, relpos::alibi{slopes},
                    relpos::causal{});
  expect_statistics(inputs_of<float, 64>(1, 90), {}, relpos::alibi{slopes}, relpos::causal{});
  expect_statistics(inputs_of<float, 64>(2, 90), {.softcap = 5.0f}, relpos::alibi{slopes},
                    relpos::causal{});
}

/// Rows [first, last) of keys and values are not numbers.
void poison(inputs<half>& in, index_t first, index_t last) {
  for (index_t head = 0; head < in.k.shape[1]; ++head) {
    for (index_t row = first; row < last; ++row) {
      for (index_t c = 0; c < 64; ++c) {
        in.k(0, head, row, c) = half(std::numeric_limits<float>::quiet_NaN());
        in.v(0, head, row, c) = half(c % 2 == 0 ? std::numeric_limits<float>::infinity()
                                                : std::numeric_limits<float>::quiet_NaN());
      }
    }
  }
}

TEST_F(prefill, what_no_row_sees_reaches_none) {
  auto in = inputs_of<half, 64>(70, 150);
  poison(in, 100, 150);
  // Query row i is at position i: the last sees keys up to 69.
  expect_device<64>(in, {.query_offset = 0}, relpos::causal{});
  expect_device<64>(in, {.query_offset = 30}, relpos::alibi{slopes}, relpos::causal{});
}

TEST_F(prefill, the_largest_number_is_hidden_too) {
  for (const index_t queries : {1, 70}) {
    auto in = inputs_of<float, 64>(queries, 150);
    for (index_t c = 0; c < 64; ++c) in.v(0, 0, 149, c) = std::numeric_limits<float>::max();
    const relpos::options opts{.query_offset = 149 - queries};
    const auto got =
        support::attend_on_device<64>(in, opts, relpos::alibi{slopes}, relpos::causal{});
    for (index_t c = 0; c < 64; ++c) in.v(0, 0, 149, c) = 0.0f;
    const auto expected =
        support::attend_on_device<64>(in, opts, relpos::alibi{slopes}, relpos::causal{});
    for (std::size_t i = 0; i < got.out.values.size(); ++i) {
      ASSERT_NEAR(got.out.values[i], expected.out.values[i], 1e-5f) << i;
    }
  }
}

TEST_F(prefill, what_a_row_does_not_see_reaches_others_alone) {
  auto in = inputs_of<half, 64>(70, 150);
  // Query row i sees keys up to 80 + i: rows from 30 on see the first that is no number.
  poison(in, 110, 111);
  const auto got = support::attend_on_device<64>(in, {}, relpos::causal{});
  auto finite = in;
  for (index_t c = 0; c < 64; ++c) {
    finite.k(0, 0, 110, c) = half(0.0f);
    finite.v(0, 0, 110, c) = half(0.0f);
  }
  const auto expected = support::attend_on_device<64>(finite, {}, relpos::causal{});
  for (index_t head = 0; head < 2; ++head) {
    for (index_t row = 0; row < 70; ++row) {
      for (index_t c = 0; c < 64; ++c) {
        const float x = got.out(0, head, row, c);
        if (row < 30) {
          EXPECT_NEAR(x, expected.out(0, head, row, c), 1e-3f) << row << ", " << c;
        } else {
          EXPECT_NE(x, x) << row << ", " << c;
        }
      }
    }
  }
}

TEST_F(prefill, a_row_has_the_same_bits_in_any_chunk) {
  const auto in = inputs_of<half, 64>(130, 200);
  constexpr auto prefill = relpos::kernel_class::prefill;
  const auto whole = support::attend_on_device<64>(in, {}, relpos::alibi{slopes}, relpos::causal{});
  for (const index_t chunk : {1, 16, 50, 64, 77}) {
    for (index_t first = 0; first < 130; first += chunk * 3) {
      const index_t count = std::min<index_t>(chunk, 130 - first);
      inputs<half> part = in;
      part.q = support::tensor<half>({1, 2, count, 64});
      for (index_t head = 0; head < 2; ++head) {
        for (index_t row = 0; row < count; ++row) {
          for (index_t c = 0; c < 64; ++c) part.q(0, head, row, c) = in.q(0, head, first + row, c);
        }
      }
      const auto got =
          support::attend_on_device<64>(part, {.query_offset = 70 + first, .kernel = prefill},
                                        relpos::alibi{slopes}, relpos::causal{});
      for (index_t head = 0; head < 2; ++head) {
        for (index_t row = 0; row < count; ++row) {
          ASSERT_EQ(std::memcmp(&got.out(0, head, row, 0), &whole.out(0, head, first + row, 0),
                                64 * sizeof(float)),
                    0)
              << "row " << first + row << " in a chunk of " << chunk;
        }
      }
    }
  }
}

}  // namespace
