// Decode by name: shapes around everything it divides, storages, layouts,
// poison, and what the bits of a row do not depend on.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"
#include "support/layouts.hpp"
#include "support/reference.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;
using support::sizes;

constexpr relpos::options decode{.kernel = kernel_class::decode};
const std::vector<index_t> key_lengths{0, 1, 2, 15, 16, 17, 127, 128, 129, 1023, 1024, 1025, 2500};

sizes shape_of(index_t group, index_t queries, index_t keys, index_t head_dim, index_t value_dim) {
  return {.batch = 1,
          .query_heads = group,
          .key_heads = 1,
          .query_length = queries,
          .key_length = keys,
          .head_dim = head_dim,
          .value_dim = value_dim};
}

// Up to 17 rows of a key head and one past two blocks of them, as heads, as queries, and as both.
TEST(decode, any_number_of_rows_of_a_key_head) {
  for (index_t rows = 1; rows <= 33; rows += rows < 17 ? 1 : 16) {
    for (const index_t group : {1, 2, 3, 4, 8, 32}) {
      if (rows % group != 0 && group != 32) continue;
      SCOPED_TRACE(testing::Message() << rows << " rows, groups of " << group);
      const index_t queries = group == 32 ? (rows + 7) / 8 : rows / group;
      sizes of = shape_of(group, queries, 150, 24, 40);
      of.key_heads = 2;
      of.query_heads *= 2;
      expect_reference_of(support::random_inputs(of, static_cast<std::uint32_t>(rows)), decode);
    }
  }
}

template <class T>
void expect_shapes() {
  // Key heads, query heads of each, queries. One row takes loops of its own. Few rows have four key
  // heads because the tolerance is twice the largest error of naive float32, which may be close to
  // zero among few elements.
  constexpr index_t rows[][3] = {{4, 1, 1}, {4, 2, 1}, {1, 2, 5}};
  constexpr index_t channels[][2] = {{64, 64}, {128, 128}, {24, 40},   {7, 3},
                                     {96, 96}, {80, 112},  {256, 256}, {16, 5}};
  for (const auto& [head_dim, value_dim] : channels) {
    for (const index_t keys : key_lengths) {
      for (const auto& [key_heads, group, queries] : rows) {
        SCOPED_TRACE(testing::Message()
                     << keys << " keys, " << queries << " queries of " << key_heads << " x "
                     << group << " heads, channels " << head_dim << ", " << value_dim);
        sizes of = shape_of(group, queries, keys, head_dim, value_dim);
        of.key_heads = key_heads;
        of.query_heads *= key_heads;
        expect_reference_of(support::random_inputs<T>(of, 7), decode);
      }
    }
  }
}

TEST(decode, any_number_of_keys_and_channels) { expect_shapes<float>(); }
TEST(decode, of_bfloat16) { expect_shapes<relpos::bfloat16>(); }
TEST(decode, of_half) { expect_shapes<relpos::half>(); }

// Channels apart, rows padded, axes in another order.
template <class T>
void expect_layouts() {
  const auto in = support::random_inputs<T>({.batch = 2,
                                             .query_heads = 4,
                                             .key_heads = 2,
                                             .query_length = 2,
                                             .key_length = 300,
                                             .head_dim = 32,
                                             .value_dim = 16},
                                            3);
  const auto expected = attend(in, decode);
  for (const index_t step : {1, 3}) {
    for (const index_t padding : {0, 5}) {
      const auto spread = [&](const auto& of) {
        return lay_out(of, support::strides_of(of.shape, {2, 0, 1, 3}, step, padding));
      };
      const auto q = spread(in.q);
      const auto k = spread(in.k);
      const auto v = spread(in.v);
      EXPECT_TRUE(same_bits(expected, support::attend(q.view(), k.view(), v.view(), decode)))
          << "steps of " << step << ", padding of " << padding;
    }
  }
}

TEST(decode, any_layout) {
  expect_layouts<float>();
  expect_layouts<relpos::bfloat16>();
  expect_layouts<relpos::half>();
}

// It is decode for up to 16 rows of a key head, or one query row of any number of heads.
TEST(decode, is_chosen_for_few_rows_alone) {
  const auto bits_of = [](const inputs<float>& in, kernel_class kernel) {
    return attend(in, {.kernel = kernel});
  };
  const index_t of[][2] = {{1, 1}, {1, 16}, {16, 1}, {4, 4}, {32, 1}, {17, 1},
                           {8, 2}, {1, 17}, {17, 2}, {3, 6}, {4, 5}};
  for (const auto& [group, queries] : of) {
    SCOPED_TRACE(testing::Message() << "groups of " << group << ", " << queries << " queries");
    const auto in = support::random_inputs(shape_of(group, queries, 1500, 64, 64), 5);
    const auto decoded = bits_of(in, kernel_class::decode);
    const auto prefilled = bits_of(in, kernel_class::prefill);
    ASSERT_FALSE(same_bits(decoded, prefilled)) << "they cannot be told apart";
    const bool few = queries == 1 || group * queries <= 16;
    EXPECT_TRUE(same_bits(bits_of(in, kernel_class::automatic), few ? decoded : prefilled));
  }
}

TEST(decode, statistics_are_those_of_prefill) {
  const auto in = support::random_inputs(shape_of(4, 2, 1500, 64, 64), 6);
  support::collected of_decode(support::rows_of(in));
  support::collected of_prefill(support::rows_of(in));
  const auto plain = attend(in, {.kernel = kernel_class::prefill});
  EXPECT_TRUE(same_bits(
      plain, attend(in, {.statistics = of_decode.views(), .kernel = kernel_class::decode})));
  EXPECT_TRUE(same_bits(
      plain, attend(in, {.statistics = of_prefill.views(), .kernel = kernel_class::prefill})));
  EXPECT_TRUE(same_bits(of_decode.entropy, of_prefill.entropy));
  EXPECT_TRUE(same_bits(of_decode.logit_variance, of_prefill.logit_variance));
}

constexpr relpos::band band{1100, 3};
constexpr index_t keys = 2300;
constexpr index_t queries = 12;
constexpr index_t query_offset = 5000 + keys - 40;
constexpr index_t key_offset = 5000;

// Channels that fill vectors are read in place, and have paths of their own.
constexpr index_t channels_of_rows[][2] = {{40, 9}, {64, 64}, {128, 128}};

inputs<float> long_inputs(index_t batch, const index_t (&channels)[2]) {
  return support::random_inputs({.batch = batch,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = channels[0],
                                 .value_dim = channels[1]},
                                19);
}

/// Rows of `got`, its entry 0 being `entry` of `whole`.
void expect_rows(const attended<float>& got, const attended<float>& whole, index_t entry,
                 index_t first_row) {
  for (index_t h = 0; h < 2; ++h) {
    for (index_t row = 0; row < got.out.shape[2]; ++row) {
      const index_t at = first_row + row;
      ASSERT_EQ(std::memcmp(&got.lse(0, h, row), &whole.lse(entry, h, at), 4), 0)
          << "row " << at << ", head " << h;
      const auto bytes = static_cast<std::size_t>(got.out.shape[3]) * sizeof(float);
      ASSERT_EQ(std::memcmp(&got.out(0, h, row, 0), &whole.out(entry, h, at, 0), bytes), 0)
          << "row " << at << ", head " << h;
    }
  }
}

TEST(decode, a_row_is_the_same_in_any_company) {
  for (const auto& channels : channels_of_rows) {
    SCOPED_TRACE(channels[0]);
    const inputs<float> nine = long_inputs(9, channels);
    const relpos::options opts{
        .query_offset = query_offset, .key_offset = key_offset, .kernel = kernel_class::decode};
    const attended<float> whole = attend(nine, opts, band);
    for (const index_t batch : {1, 2, 9}) {
      for (const index_t count : {1, 2, 5, 12}) {
        for (index_t first = 0; first + count <= queries; first += count) {
          relpos::options there = opts;
          there.query_offset = query_offset + first;
          const index_t entry = 9 - batch;
          expect_rows(support::attend(nine.q.view().slice(0, entry, batch).slice(2, first, count),
                                      nine.k.view().slice(0, entry, batch),
                                      nine.v.view().slice(0, entry, batch), there, band),
                      whole, entry, first);
        }
      }
    }
  }
}

TEST(decode, a_row_is_the_same_whatever_keys_that_it_does_not_see_are_there) {
  for (const auto& channels : channels_of_rows) {
    SCOPED_TRACE(channels[0]);
    const inputs<float> in = long_inputs(1, channels);
    const relpos::options opts{
        .query_offset = query_offset, .key_offset = key_offset, .kernel = kernel_class::decode};
    const attended<float> whole = attend(in, opts, band);
    const index_t to_row = query_offset - key_offset;
    for (const index_t row : {0, 3, 11}) {
      const index_t first_seen = to_row + row - 1100;
      const index_t last_seen = to_row + row + 4;
      for (const index_t first :
           {index_t{0}, index_t{1}, index_t{100}, index_t{1023}, first_seen}) {
        for (const index_t last : {last_seen, last_seen + 1, keys - 1, keys}) {
          const relpos::options there{.query_offset = query_offset + row,
                                      .key_offset = key_offset + first,
                                      .kernel = kernel_class::decode};
          expect_rows(support::attend(in.q.view().slice(2, row, 1),
                                      in.k.view().slice(2, first, last - first),
                                      in.v.view().slice(2, first, last - first), there, band),
                      whole, 0, row);
        }
      }
    }
  }
}

TEST(decode, any_executor) {
  for (const auto& channels : channels_of_rows) {
    SCOPED_TRACE(channels[0]);
    const inputs<float> in = long_inputs(2, channels);
    const attended<float> expected = attend(in, decode, band);
    const auto on = [&](const auto& runner) {
      return support::attend_on(runner, in.q.view(), in.k.view(), in.v.view(), decode, band);
    };
    for (const index_t workers : {2, 3, 7}) {
      EXPECT_TRUE(same_bits(expected, on(support::shuffled{workers, 4})));
      for (int times = 0; times < 3; ++times) {
        EXPECT_TRUE(same_bits(expected, on(support::threaded{workers})));
      }
    }
  }
}

TEST(decode, nan_and_infinity_reach_no_row_that_does_not_see_them) {
  for (const auto& channels : channels_of_rows) {
    SCOPED_TRACE(channels[0]);
    const inputs<float> clean = long_inputs(1, channels);
    const attended<float> expected = attend(clean, decode, band);
    const index_t to_row = keys - queries;
    for (const float poison : {support::not_a_number, support::infinity, -support::infinity}) {
      for (const index_t key : {index_t{0}, to_row - 1095, to_row + 5, to_row + 11}) {
        inputs<float> poisoned = clean;
        poisoned.k(0, 0, key, 7) = poison;
        poisoned.v(0, 0, key, 2) = poison;
        const attended<float> got = attend(poisoned, decode, band);
        for (index_t row = 0; row < queries; ++row) {
          const index_t distance = key - (to_row + row);
          if (-1100 <= distance && distance <= 3) continue;
          for (index_t h = 0; h < 2; ++h) {
            ASSERT_EQ(got.lse(0, h, row), expected.lse(0, h, row)) << key << ", row " << row;
            for (index_t c = 0; c < channels[1]; ++c) {
              ASSERT_EQ(got.out(0, h, row, c), expected.out(0, h, row, c))
                  << key << ", row " << row;
            }
          }
        }
      }
    }
  }
}

}  // namespace
