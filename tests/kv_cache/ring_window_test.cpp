// The window of a ring: what it shows, how far a ring can be taken back, and which calls reach
// beyond what is there.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;
using support::own_ring;

constexpr index_t rows = 400;
constexpr index_t window = 40;

const inputs<float>& stream() {
  static const inputs<float> in = support::random_inputs({.query_heads = 2,
                                                          .key_heads = 1,
                                                          .query_length = rows,
                                                          .key_length = rows,
                                                          .head_dim = 16,
                                                          .value_dim = 8},
                                                         17);
  return in;
}

own_ring<float> ring_of(index_t sinks, index_t behind, index_t seen = 0) {
  return own_ring<float>({.key_heads = 1, .rows = sinks + behind, .head_dim = 16, .value_dim = 8},
                         sinks, seen);
}

relpos::view<const float, 4> queries(index_t first, index_t last) {
  return stream().q.view().slice(2, first, last - first);
}

/// Over all rows, of which a query sees the first `sinks` and the last `keys`.
attended<float> unlimited(index_t sinks, index_t keys, kernel_class kernel) {
  return support::attend(stream(), {.kernel = kernel},
                         relpos::either{relpos::band{keys - 1, 0}, relpos::sinks{sinks}},
                         relpos::causal{});
}

attended<float> attend_ring(own_ring<float>& ring, index_t first, index_t last,
                            kernel_class kernel) {
  return support::attend_cache(ring.cache(), queries(first, last), {.kernel = kernel},
                               relpos::causal{});
}

TEST(ring_window, needs_no_mask) {
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    for (const index_t sinks : {0, 3}) {
      const attended<float> whole = unlimited(sinks, window, kernel);
      for (const index_t chunk : {1, 7, 64}) {
        SCOPED_TRACE(testing::Message() << sinks << " sinks, chunks of " << chunk);
        own_ring<float> ring = ring_of(sinks, window + chunk - 1, window);
        for (index_t first = 0; first < rows; first += chunk) {
          const index_t last = std::min(first + chunk, rows);
          support::append_rows(ring, stream(), first, last);
          support::expect_same_rows(attend_ring(ring, first, last, kernel), whole, first);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Every length that truncate may be asked for, from rings of every kind and age.
TEST(ring_window, after_any_truncate_that_is_taken_the_next_row_is_that_of_an_unlimited_cache) {
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    for (const index_t sinks : {0, 3}) {
      for (const index_t seen : {index_t{0}, window}) {
        constexpr index_t behind = window + 12;
        const attended<float> whole = unlimited(sinks, seen > 0 ? seen : behind, kernel);
        for (const index_t length :
             {index_t{2}, sinks + behind, sinks + behind + 1, index_t{300}}) {
          own_ring<float> filled = ring_of(sinks, behind, seen);
          for (index_t row = 0; row < length; ++row) {
            support::append_rows(filled, stream(), row, row + 1);
          }
          const index_t most = relpos::rewindable_rows(filled.cache(), 0);
          const index_t wanted = length <= sinks + behind ? length : seen > 0 ? 12 + 1 : 1;
          EXPECT_EQ(most, wanted) << length << " rows, " << sinks << " sinks, window " << seen;
          for (index_t to = 0; to <= length; ++to) {
            SCOPED_TRACE(testing::Message() << length << " rows to " << to << ", " << sinks
                                            << " sinks, window " << seen);
            own_ring<float> ring = filled;
            const relpos::status done = relpos::truncate(ring.cache(), 0, to);
            ASSERT_EQ(static_cast<bool>(done), to <= sinks || length - to <= most) << done.message;
            if (!done) {
              EXPECT_EQ(done.code, relpos::status_code::invalid_value);
              EXPECT_NE(
                  std::string(done.message)
                      .find("length: is " + std::to_string(to) + ", the ring can take " +
                            std::to_string(most) + " rows back from " + std::to_string(length)),
                  std::string::npos)
                  << done.message;
              EXPECT_TRUE(ring.lengths == filled.lengths && ring.oldest == filled.oldest);
              continue;
            }
            for (index_t row = to; row < std::min(to + 2, rows); ++row) {
              support::append_rows(ring, stream(), row, row + 1);
              support::expect_same_rows(attend_ring(ring, row, row + 1, kernel), whole, row);
              if (HasFatalFailure()) return;
            }
          }
        }
      }
    }
  }
}

TEST(ring_window, other_caches_take_back_all_rows) {
  support::own_contiguous<float> cache({.rows = 20, .head_dim = 16, .value_dim = 8});
  support::append_rows(cache, stream(), 0, 15);
  EXPECT_EQ(relpos::rewindable_rows(cache.cache(), 0), 15);
  EXPECT_EQ(relpos::rewindable_rows(cache.cache(), 1), 0);
  EXPECT_EQ(relpos::rewindable_rows(cache.cache(), -1), 0);
}

/// The refusal of a call with queries [first, last), "" where it is taken.
template <class... Policies>
std::string refusal(own_ring<float>& ring, index_t first, index_t last,
                    const Policies&... policies) {
  support::tensor<float> out({1, 2, last - first, 8});
  std::vector<std::byte> memory(1 << 20);
  const relpos::status done = relpos::attention(relpos::serial{}, memory, out.view(),
                                                queries(first, last), ring.cache(), policies...);
  return done ? "" : done.message;
}

TEST(ring_window, a_ring_too_small_for_window_and_chunk_is_refused_where_the_mask_tells) {
  for (const index_t sinks : {0, 3}) {
    own_ring<float> ring = ring_of(sinks, 44);
    for (index_t row = 0; row < 200; row += 20) {
      support::append_rows(ring, stream(), row, row + 20);
    }
    // Rows 156 to 199 are there.
    const relpos::band of_25{24, 0};
    const relpos::band of_26{25, 0};
    EXPECT_EQ(refusal(ring, 180, 200, of_25), "");
    EXPECT_EQ(
        refusal(ring, 180, 200, of_26),
        "cache: the query at position 180 of sequence 0 sees keys from 155 on, but the ring "
        "has evicted keys before 156: a ring needs sinks + window + rows appended at once - 1 "
        "rows");
    EXPECT_EQ(refusal(ring, 181, 200, of_26), "");
    const relpos::sinks beside{sinks};
    EXPECT_EQ(refusal(ring, 180, 200, relpos::causal{}, relpos::either{of_25, beside}), "");
    EXPECT_NE(refusal(ring, 180, 200, relpos::causal{}, relpos::either{of_26, beside}), "");
    EXPECT_EQ(refusal(ring, 180, 200, relpos::blockwise_causal{12}), "");  // from 168 on
    EXPECT_NE(refusal(ring, 180, 200, relpos::blockwise_causal{30}), "");  // from 150 on
    EXPECT_EQ(refusal(ring, 180, 200, relpos::chunked_causal{20}), "");    // from 180 on
    EXPECT_NE(refusal(ring, 180, 200, relpos::chunked_causal{101}), "");   // from 101 on
  }
}

TEST(ring_window, masks_that_hide_what_is_gone_need_it_not) {
  own_ring<float> ring = ring_of(0, 44);
  for (index_t row = 0; row < 200; row += 20) support::append_rows(ring, stream(), row, row + 20);
  const relpos::band wide{99, 0};
  const std::vector<index_t> late{0, 160, 300};
  const std::vector<index_t> early{0, 100, 300};
  EXPECT_EQ(refusal(ring, 180, 200, wide, relpos::documents{late}), "");
  EXPECT_EQ(refusal(ring, 180, 200, relpos::both{wide, relpos::documents{late}}), "");
  EXPECT_NE(refusal(ring, 180, 200, wide, relpos::documents{early}), "");
  EXPECT_NE(refusal(ring, 180, 200, relpos::both{wide, relpos::documents{early}}), "");
  // Without a window the ring is the window, wherever a document or the padding begins.
  EXPECT_EQ(refusal(ring, 180, 200, relpos::causal{}, relpos::documents{early}), "");
  const std::vector<index_t> padding{100};
  EXPECT_EQ(refusal(ring, 180, 200, relpos::causal{}, relpos::left_padding{padding}), "");
}

TEST(ring_window, a_window_of_the_ring_is_held_to_what_is_there) {
  own_ring<float> ring = ring_of(3, 44, 25);
  for (index_t row = 0; row < 200; row += 20) support::append_rows(ring, stream(), row, row + 20);
  EXPECT_EQ(refusal(ring, 180, 200, relpos::causal{}), "");
  EXPECT_NE(refusal(ring, 179, 200, relpos::causal{}), "");
  ring.window = 45;
  EXPECT_EQ(
      refusal(ring, 180, 200, relpos::causal{}),
      "cache.window: is 45, must be 0 to 44, the rows behind 3 sinks of cache.keys, [1, 1, 47, "
      "16]");
  ring.window = -1;
  EXPECT_NE(refusal(ring, 180, 200, relpos::causal{}), "");
}

// ln n / ln trained, of n keys that the row sees: the window and the sinks, though more rows are
// there.
TEST(ring_window, rows_before_it_do_not_count) {
  constexpr index_t trained = 16;
  for (const index_t sinks : {0, 3}) {
    own_ring<float> ring = ring_of(sinks, 60, window);
    for (index_t row = 0; row < 200; row += 20) support::append_rows(ring, stream(), row, row + 20);
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      const double factor = std::log(static_cast<double>(sinks + window)) / std::log(trained);
      const auto got = support::attend_cache(ring.cache(), queries(198, 200), {.kernel = kernel},
                                             relpos::log_n{trained}, relpos::causal{});
      const auto wanted = support::attend_cache(
          ring.cache(), queries(198, 200),
          {.scale = static_cast<float>(factor / std::sqrt(16.0)), .kernel = kernel},
          relpos::causal{});
      for (std::size_t i = 0; i < got.out.values.size(); ++i) {
        EXPECT_NEAR(got.out.values[i], wanted.out.values[i], 3e-6f);
      }
    }
  }
}

// A prompt that fits exactly, sinks and all.
TEST(ring_window, an_empty_ring_takes_as_many_rows_as_it_has) {
  own_ring<float> at_once = ring_of(4, 44);
  own_ring<float> in_parts = ring_of(4, 44);
  support::append_rows(at_once, stream(), 0, 48);
  support::append_rows(in_parts, stream(), 0, 4);
  support::append_rows(in_parts, stream(), 4, 48);
  EXPECT_TRUE(at_once.memory == in_parts.memory);
  EXPECT_EQ(at_once.oldest, in_parts.oldest);
  const auto& k = stream().k;
  const auto& v = stream().v;
  own_ring<float> empty = ring_of(4, 44);
  const relpos::status done = relpos::append(relpos::serial{}, empty.cache(),
                                             k.view().slice(2, 0, 49), v.view().slice(2, 0, 49));
  EXPECT_NE(std::string(done.message).find("k: 45 rows at once, the ring holds 44 behind 4 sinks"),
            std::string::npos)
      << done.message;
}

}  // namespace
