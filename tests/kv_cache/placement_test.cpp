// A placement of the user's: a cache asks it for nothing but what kv_cache/placement.hpp lists.

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;
using relpos::status;
using relpos::status_code;
using support::inputs;

/// Sequences take turns in one slab: row r of sequence s is at r * sequences + s.
struct interleaved {
  static constexpr bool evicts = false;

  index_t sequences = 1;

  constexpr relpos::cache_cell cell(index_t sequence, index_t row, index_t) const {
    return {0, row * sequences + sequence};
  }
  static constexpr index_t run(index_t, const relpos::cache_cell&, index_t) { return 1; }
  status check(const std::array<index_t, 4>& keys, std::span<const index_t> lengths) const {
    if (keys[0] == 1 && static_cast<index_t>(lengths.size()) == sequences) return {};
    return status::error(status_code::invalid_shape, "cache.lengths: %zu", lengths.size());
  }
  status check_room(index_t sequence, index_t rows, const std::array<index_t, 4>& keys,
                    index_t) const {
    if (rows == 0 || cell(sequence, rows - 1, keys[2]).row < keys[2]) return {};
    return status::error(status_code::invalid_shape, "cache: no room for %lld rows",
                         static_cast<long long>(rows));
  }
  template <class Use>
  static void memory_parts(const Use&) {}
};
static_assert(relpos::cache_placement<interleaved>);
static_assert(!relpos::evicting_placement<interleaved>);
static_assert(relpos::evicting_placement<relpos::ring_placement>);
static_assert(!relpos::cache_placement<relpos::cache_cell>);

template <class Stored>
class own_interleaved {
 public:
  using stored = Stored;
  explicit own_interleaved(const support::cache_sizes& of)
      : memory(1, of.batch * of.rows, of), lengths(static_cast<std::size_t>(of.batch), 0) {}

  relpos::kv_cache<Stored, interleaved> cache() {
    return {memory.memory(), lengths, {static_cast<index_t>(lengths.size())}};
  }
  static void make_room(index_t, index_t) {}

  support::slabs<Stored> memory;
  std::vector<index_t> lengths;
};

template <class Stored>
void expect_as_contiguous() {
  const support::cache_sizes of{
      .batch = 3, .key_heads = 2, .rows = 300, .head_dim = 16, .value_dim = 12};
  support::sizes sizes{.batch = 3,
                       .query_heads = 4,
                       .key_heads = 2,
                       .query_length = 60,
                       .key_length = 300,
                       .head_dim = 16,
                       .value_dim = 12};
  const inputs<float> in = support::random_inputs(sizes, 31);
  sizes.batch = 1;
  const inputs<float> one = support::random_inputs(sizes, 32);
  const relpos::rotary_table rope(relpos::rope_frequencies(16), relpos::pair_layout::half_split);
  own_interleaved<Stored> woven(of);
  support::own_contiguous<Stored> apart(of);
  const auto fill = [&](auto& to) {
    support::append_rows(to, in, 0, 170, relpos::rotary{rope});
    support::append_rows_of(to, 1, one, 170, 300, relpos::rotary{rope});
  };
  fill(woven);
  fill(apart);
  for (const index_t queries : {1, 60}) {
    const auto q = in.q.view().slice(2, 0, queries);
    EXPECT_TRUE(same_bits(
        support::attend_cache(woven.cache(), q, {}, relpos::rotary{rope}, relpos::causal{}),
        support::attend_cache(apart.cache(), q, {}, relpos::rotary{rope}, relpos::causal{})));
  }
}

TEST(placement, of_the_user) {
  expect_as_contiguous<float>();
  expect_as_contiguous<relpos::int8>();
}

TEST(placement, of_the_user_refuses) {
  own_interleaved<float> own({.batch = 2, .rows = 4});
  const inputs<float> in = support::random_inputs(
      {.batch = 2, .query_heads = 1, .key_heads = 1, .query_length = 1, .key_length = 5}, 3);
  const status done = relpos::append(relpos::serial{}, own.cache(), in.k.view(), in.v.view());
  EXPECT_STREQ(done.message, "cache: no room for 5 rows");
  EXPECT_EQ(own.lengths, (std::vector<index_t>{0, 0}));
}

}  // namespace
