// Rows of a cache that are not finite: no bit of a query that does not see them changes, in any
// storage.

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;

/// Which rows of 20 are poisoned, and of what.
struct poison {
  index_t row;
  float value;
  bool in_keys;
  bool in_values;
};

// Queries 16 to 19 stand at the last rows: each sees the rows up to its own, and five behind it.
constexpr index_t queries = 4;
const relpos::band window{5, 0};

bool sees(index_t query, index_t row) { return query - 5 <= row && row <= query; }

template <class Own>
void expect_unharmed(index_t rows, const std::array<index_t, 2>& channels, const poison& by) {
  SCOPED_TRACE(testing::Message() << rows << " rows of " << channels[0] << " channels, row "
                                  << by.row << " is " << by.value << (by.in_keys ? ", keys" : "")
                                  << (by.in_values ? ", values" : ""));
  const inputs<float> clean = support::random_inputs({.batch = 1,
                                                      .query_heads = 2,
                                                      .key_heads = 1,
                                                      .query_length = queries,
                                                      .key_length = rows,
                                                      .head_dim = channels[0],
                                                      .value_dim = channels[1]},
                                                     5);
  inputs<float> poisoned = clean;
  // One channel is enough for an int8 row, whose scale it takes with it.
  if (by.in_keys) poisoned.k(0, 0, by.row, 3) = by.value;
  if (by.in_values) poisoned.v(0, 0, by.row, 2) = by.value;
  const support::cache_sizes room{
      .batch = 1, .key_heads = 1, .rows = rows, .head_dim = channels[0], .value_dim = channels[1]};
  Own without(room);
  Own with(room);
  support::append_rows(without, clean, 0, rows);
  support::append_rows(with, poisoned, 0, rows);
  for (const kernel_class kernel : {kernel_class::decode, kernel_class::prefill}) {
    SCOPED_TRACE(kernel == kernel_class::decode ? "decode" : "prefill");
    const relpos::options opts{.kernel = kernel};
    const attended<float> expected =
        support::attend_cache(without.cache(), clean.q.view(), opts, window);
    const attended<float> got = support::attend_cache(with.cache(), clean.q.view(), opts, window);
    for (index_t query = 0; query < queries; ++query) {
      SCOPED_TRACE(testing::Message() << "query " << query);
      for (index_t h = 0; h < 2; ++h) {
        if (sees(rows - queries + query, by.row)) {
          if (std::isnan(by.value)) {
            EXPECT_TRUE(std::isnan(got.out(0, h, query, 2)));  // the poison works
          }
          continue;
        }
        ASSERT_EQ(got.lse(0, h, query), expected.lse(0, h, query));
        for (index_t c = 0; c < channels[1]; ++c) {
          ASSERT_EQ(got.out(0, h, query, c), expected.out(0, h, query, c)) << "channel " << c;
        }
      }
    }
  }
}

template <class Own>
void expect_any_row() {
  // Rows are read where they lie, or copied; a part of a tile, and some tiles.
  for (const auto& channels : {std::array<index_t, 2>{64, 64}, {128, 128}, {24, 11}}) {
    for (const index_t rows : {20, 261}) {
      for (const float value : {support::not_a_number, support::infinity}) {
        // Behind the first query alone, behind all but the last, and before all but the first.
        for (const index_t row : {rows - 3, rows - 1, rows - 9, index_t{0}}) {
          expect_unharmed<Own>(rows, channels, {row, value, false, true});
          expect_unharmed<Own>(rows, channels, {row, value, true, false});
          expect_unharmed<Own>(rows, channels, {row, value, true, true});
        }
      }
    }
  }
}

template <class Stored>
void expect_any_cache() {
  {
    SCOPED_TRACE("contiguous");
    expect_any_row<own_contiguous<Stored>>();
  }
  {
    SCOPED_TRACE("paged");
    expect_any_row<own_paged<Stored>>();
  }
}

TEST(cache_hidden_rows, of_float) { expect_any_cache<float>(); }
TEST(cache_hidden_rows, of_bfloat16) { expect_any_cache<relpos::bfloat16>(); }
TEST(cache_hidden_rows, of_half) { expect_any_cache<relpos::half>(); }
TEST(cache_hidden_rows, of_int8) { expect_any_cache<relpos::int8>(); }
TEST(cache_hidden_rows, of_float8) { expect_any_cache<relpos::float8_e4m3>(); }
TEST(cache_hidden_rows, of_a_ring) { expect_any_row<own_ring<relpos::int8>>(); }

}  // namespace
