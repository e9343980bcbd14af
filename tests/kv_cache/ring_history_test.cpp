// Rings that have evicted far more than they hold: results, counts of keys, workspace and items
// depend on the resident rows alone.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::inputs;
using support::own_ring;

constexpr index_t heads = 2;
constexpr index_t channels = 8;
const std::vector<float> slopes{0.3f, 0.0001f};

/// A ring that holds `sinks` and `held` newest of `length` rows, and the same rows where they would
/// be in tensors.
struct history {
  inputs<float> in;
  own_ring<float> ring;
  index_t evicted;

  history(index_t length, index_t held, index_t sinks)
      : in(support::random_inputs({.query_heads = heads,
                                   .key_heads = 1,
                                   .query_length = 3,
                                   .key_length = length,
                                   .head_dim = channels,
                                   .value_dim = channels},
                                  5)),
        ring({.rows = sinks + held, .head_dim = channels, .value_dim = channels}, sinks),
        evicted(length - held) {
    support::append_rows(ring, in, 0, sinks);
    // As if the rows between had been appended: the next take the places of the oldest.
    ring.lengths[0] = evicted;
    ring.oldest[0] = evicted;
    for (index_t row = evicted; row < length; row += held) {
      support::append_rows(ring, in, row, std::min(row + held, length));
    }
  }

  const inputs<float>& rows() const { return in; }
  relpos::view<const float, 4> last_query() const { return in.q.view().slice(2, 2, 1); }
};

/// Hides positions [first, last).
struct gap {
  index_t first;
  index_t last;

  bool keep(index_t, index_t k_pos) const { return k_pos < first || k_pos >= last; }
};

TEST(ring_history, a_ring_is_what_it_holds) {
  for (const index_t sinks : {0, 4}) {
    for (const index_t held : {100, 1500}) {
      const history of(20000, held, sinks);
      for (const index_t offset : {0, -777, 1 << 20}) {
        for (const auto kernel : {kernel_class::prefill, kernel_class::decode}) {
          SCOPED_TRACE(testing::Message() << sinks << " sinks, " << held << " held, " << offset);
          const relpos::options opts{.key_offset = offset, .kernel = kernel};
          history fresh = of;
          support::expect_reference(support::attend_cache(fresh.ring.cache(), of.in.q.view(), opts,
                                                          relpos::alibi{slopes}, relpos::causal{}),
                                    of.in.q.view(), of.in.k.view(), of.in.v.view(), opts,
                                    relpos::alibi{slopes}, relpos::causal{},
                                    gap{sinks + offset, of.evicted + offset});
        }
      }
    }
  }
}

// The sinks are so far from the queries that they have tables of their own.
TEST(ring_history, a_mixed_bias_has_tables_for_both_parts) {
  const auto coefficients = support::random_tensor({1, heads, 3, 4}, 6);
  const auto tables = support::random_tensor({1, heads, 4, 80}, 7);
  for (const auto ends : {relpos::table_ends::zero, relpos::table_ends::repeated}) {
    const relpos::mixed_bias bias{
        coefficients.view(), relpos::view<const float, 3>(tables.values.data(), {heads, 4, 80}),
        -79, ends};
    for (const auto kernel : {kernel_class::prefill, kernel_class::decode}) {
      history of(5000, 300, 4);
      const inputs<float>& in = of.rows();
      const relpos::options opts{.kernel = kernel};
      support::expect_reference(
          support::attend_cache(of.ring.cache(), in.q.view(), opts, bias, relpos::causal{}),
          in.q.view(), in.k.view(), in.v.view(), opts, bias, relpos::causal{}, gap{4, of.evicted});
    }
  }
}

TEST(ring_history, keys_that_are_gone_do_not_count) {
  constexpr index_t trained = 16;
  for (const index_t sinks : {0, 4}) {
    history of(5000, 100, sinks);
    // ln n / ln trained, of the keys that the last query sees.
    const double factor = std::log(static_cast<double>(sinks + 100)) / std::log(trained);
    for (const auto kernel : {kernel_class::prefill, kernel_class::decode}) {
      const relpos::options opts{.kernel = kernel};
      relpos::options scaled = opts;
      scaled.scale = static_cast<float>(factor / std::sqrt(channels));
      support::expect_reference(support::attend_cache(of.ring.cache(), of.last_query(), opts,
                                                      relpos::log_n{trained}, relpos::causal{}),
                                of.last_query(), of.rows().k.view(), of.rows().v.view(), scaled,
                                relpos::causal{}, gap{sinks, of.evicted});
    }
  }
}

/// Runs in order, and keeps how many items each run had.
struct counting {
  std::vector<index_t>* counts;

  static index_t workers() { return 8; }
  template <class Item>
  void run(index_t count, Item&& item) const {
    counts->push_back(count);
    for (index_t i = 0; i < count; ++i) item(i, i % workers());
  }
};

TEST(ring_history, a_bias_matrix_counts_the_rows_that_are_gone) {
  constexpr index_t length = 5000;
  constexpr index_t held = 64;
  for (const index_t sinks : {0, 4}) {
    history of(length, held, sinks);
    relpos::options opts;
    support::tensor<float> all = support::random_tensor({1, heads, 1, length}, 3);
    support::tensor<float> gaps = all;
    for (index_t h = 0; h < heads; ++h) {
      for (index_t row = sinks; row < of.evicted; ++row) gaps(0, h, 0, row) = support::not_a_number;
    }
    for (const auto kernel : {kernel_class::prefill, kernel_class::decode}) {
      opts.kernel = kernel;
      support::expect_reference(
          support::attend_cache(of.ring.cache(), of.last_query(), opts,
                                relpos::additive_bias{gaps.view()}, relpos::causal{}),
          of.last_query(), of.rows().k.view(), of.rows().v.view(), opts,
          relpos::additive_bias{all.view()}, relpos::causal{}, gap{sinks, of.evicted});
    }

    // One column for each row that the ring holds is a matrix of other rows.
    const relpos::additive_bias columns_of_held{all.view().slice(3, 0, sinks + held)};
    support::tensor<float> out({1, heads, 1, channels});
    const std::vector<float> before = out.values;
    std::vector<std::byte> memory(
        relpos::workspace_bytes(relpos::serial{}, of.last_query(), of.ring.cache(),
                                relpos::additive_bias{all.view()}, relpos::causal{}, opts));
    const relpos::status refusal =
        relpos::attention(relpos::serial{}, memory, out.view(), of.last_query(), of.ring.cache(),
                          columns_of_held, relpos::causal{}, opts);
    EXPECT_EQ(refusal.code, relpos::status_code::invalid_shape);
    EXPECT_EQ(
        std::string(refusal.message),
        "additive_bias: matrix is [1, 2, 1, " + std::to_string(sinks + held) +
            "], must be [batch, head, query, key] = [1, 2, 1, 5000] or 1 where broadcast; keys "
            "are all rows of the longest sequence, also those that a cache has evicted");
    EXPECT_EQ(out.values, before);
  }
}

TEST(ring_history, workspace_and_items_are_of_what_is_there) {
  constexpr index_t held = 4 * 1024;
  for (const index_t sinks : {0, 4}) {
    std::vector<std::size_t> bytes;
    for (const index_t length : {held + 4, held + (1 << 15)}) {
      history of(length, held, sinks);
      std::vector<index_t> counts;
      const counting runner{&counts};
      bytes.push_back(
          relpos::workspace_bytes(runner, of.last_query(), of.ring.cache(), relpos::causal{}));
      std::vector<std::byte> memory(bytes.back());
      support::tensor<float> out({1, heads, 1, channels});
      ASSERT_TRUE(relpos::attention(runner, memory, out.view(), of.last_query(), of.ring.cache(),
                                    relpos::causal{}));
      ASSERT_EQ(counts.size(), 3u);
      // Four or five parts of 1024 keys, and one with the sinks: so few that each is an item.
      EXPECT_GE(counts[1], 4);
      EXPECT_LE(counts[1], 6);
    }
    // One part may begin and another end where rows are evicted.
    EXPECT_LE(bytes[1], bytes[0] + 4 * heads * (channels + 2) * sizeof(float));
  }
}

}  // namespace
