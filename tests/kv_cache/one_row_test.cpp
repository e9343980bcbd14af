// Decode of one query row of a key head over caches. With 16 lanes, values of a whole tile and keys
// of the next are read in one stream, of pages too: the reference over rounded rows, and the bits
// of the same row beside another, where they are read apart.

#include <gtest/gtest.h>

#include <utility>

#include "kv_cache/caches.hpp"
#include "kv_cache/stored_rows.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"
#include "support/sixteen_lanes.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;
using support::own_contiguous;
using support::own_paged;

// So many that an item of work goes through some chunks of the longest keys.
constexpr index_t heads = 6;
const std::vector<float> slopes{0.3f, 0.1f, 0.03f, 0.004f, 0.001f, 0.0f};
const relpos::alibi bias{slopes};

/// Two queries, of which the first stands at the last key: under causal{} it sees all keys, as it
/// does alone.
inputs<float> two_rows(index_t keys, index_t channels) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = heads,
                                 .key_heads = heads,
                                 .query_length = 2,
                                 .key_length = keys,
                                 .head_dim = channels,
                                 .value_dim = channels},
                                static_cast<std::uint32_t>(keys + channels));
}

/// The last of `in`, alone and beside another.
template <class Isa, class Own>
attended<float> last_row(Own to, const inputs<float>& in) {
  const index_t keys = in.k.shape[2];
  support::append_rows(to, in, 0, keys);
  const relpos::options opts{.query_offset = keys - 1, .kernel = relpos::kernel_class::decode};
  const auto decode = [&](relpos::view<const float, 4> q) {
    return support::attend_watched<Isa>(relpos::serial{}, q, in.v.shape[3], opts, to.cache(), bias,
                                        relpos::causal{});
  };
  const auto q = in.q.view();
  const attended<float> alone = decode(q.slice(2, 0, 1));
  support::expect_same_rows(alone, decode(q), 0);
  return alone;
}

template <class Isa, class Stored>
void expect_lengths() {
  for (const index_t channels : {64, 128}) {
    for (const index_t keys : {129, 256, 257, 1024, 1025, 2500}) {
      SCOPED_TRACE(testing::Message() << keys << " keys of " << channels << " channels");
      const inputs<float> in = two_rows(keys, channels);
      const support::cache_sizes room{.batch = 1,
                                      .key_heads = heads,
                                      .rows = keys,
                                      .head_dim = channels,
                                      .value_dim = channels};
      const attended<float> expected = last_row<Isa>(own_contiguous<Stored>(room), in);
      const auto k = support::stored<Stored>(in.k);
      const auto v = support::stored<Stored>(in.v);
      expect_reference(expected, in.q.view().slice(2, 0, 1), std::as_const(k).view(),
                       std::as_const(v).view(), {}, bias, relpos::causal{});
      // A tile in many pages, in two and in one.
      for (const index_t page_rows : {16, 64, 13, 333}) {
        SCOPED_TRACE(testing::Message() << "pages of " << page_rows);
        EXPECT_TRUE(same_bits(expected, last_row<Isa>(own_paged<Stored>(room, page_rows), in)));
      }
    }
  }
}

TEST(cache_one_row, of_float) { expect_lengths<relpos::native, float>(); }
TEST(cache_one_row, of_bfloat16) { expect_lengths<relpos::native, relpos::bfloat16>(); }
TEST(cache_one_row, of_half) { expect_lengths<relpos::native, relpos::half>(); }
TEST(cache_one_row, of_int8) { expect_lengths<relpos::native, relpos::int8>(); }
TEST(cache_one_row, of_float8) {
  expect_lengths<relpos::native, relpos::float8_e4m3>();
  expect_lengths<relpos::native, relpos::float8_e5m2>();
}
TEST(cache_one_row, of_sixteen_lanes_on_any_machine) {
  expect_lengths<support::sixteen_lanes, relpos::int8>();
}

}  // namespace
