#pragma once
// Caches that own their memory, which is full of NaN before anything is appended: what was not
// written is seen in any result that read it.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "relpos/caches.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"

namespace support {

struct cache_sizes {
  index_t batch = 1;
  index_t key_heads = 1;
  index_t rows = 1;  // that a sequence has room for
  index_t head_dim = 8;
  index_t value_dim = 8;
};

template <class Stored>
struct slabs {
  tensor<Stored> keys;
  tensor<Stored> values;
  tensor<float, 3> key_scales;
  tensor<float, 3> value_scales;

  slabs(index_t count, index_t rows, const cache_sizes& of)
      : keys({count, of.key_heads, rows, of.head_dim / relpos::channels_of_element<Stored>}),
        values({count, of.key_heads, rows, of.value_dim / relpos::channels_of_element<Stored>}),
        key_scales({count, of.key_heads, rows}),
        value_scales({count, of.key_heads, rows}) {
    poison(keys);
    poison(values);
    poison(key_scales);
    poison(value_scales);
  }

  relpos::cache_memory<Stored> memory() {
    if constexpr (relpos::storage_traits<Stored>::is_scaled) {
      return {keys.view(), values.view(), key_scales.view(), value_scales.view()};
    } else {
      return {keys.view(), values.view()};
    }
  }

  bool operator==(const slabs& other) const {
    return same_bits(keys, other.keys) && same_bits(values, other.values) &&
           same_bits(key_scales, other.key_scales) && same_bits(value_scales, other.value_scales);
  }

 private:
  template <class T, std::size_t Rank>
  static void poison(tensor<T, Rank>& of) {
    if (of.values.empty()) return;
    std::memset(static_cast<void*>(of.values.data()), 0xff, of.values.size() * sizeof(T));
  }
};

/// All caches here have cache(), the library's view, and make_room(sequence, rows) for an append.
template <class Stored>
class own_contiguous {
 public:
  using stored = Stored;
  explicit own_contiguous(const cache_sizes& of)
      : memory(of.batch, of.rows, of), lengths(static_cast<std::size_t>(of.batch), 0) {}

  relpos::contiguous_cache<Stored> cache() { return {memory.memory(), lengths}; }
  static void make_room(index_t, index_t) {}

  slabs<Stored> memory;
  std::vector<index_t> lengths;
};

template <class Stored>
class own_ring {
 public:
  using stored = Stored;
  /// It has `of.rows` rows, `kept` of them sinks; `seen` keys are the window.
  explicit own_ring(const cache_sizes& of, index_t kept = 0, index_t seen = 0)
      : memory(of.batch, of.rows, of),
        lengths(static_cast<std::size_t>(of.batch), 0),
        oldest(lengths.size(), 0),
        sinks(kept),
        window(seen) {}

  relpos::ring_cache<Stored> cache() { return {memory.memory(), lengths, {oldest, sinks, window}}; }
  static void make_room(index_t, index_t) {}

  slabs<Stored> memory;
  std::vector<index_t> lengths;
  std::vector<index_t> oldest;
  index_t sinks;
  index_t window;
};

template <class Stored>
class own_paged {
 public:
  using stored = Stored;
  /// Pages for `of.rows` rows of each sequence, taken in no order; `count`, if there are to be more
  /// or less.
  explicit own_paged(const cache_sizes& of, index_t page_rows = 16, index_t count = -1)
      : blocks((of.rows + page_rows - 1) / page_rows),
        pages(count < 0 ? of.batch * blocks : count),
        memory(pages, page_rows, of),
        lengths(static_cast<std::size_t>(of.batch), 0),
        table(static_cast<std::size_t>(of.batch * blocks),
              std::numeric_limits<std::int32_t>::max()),
        pool(pages) {
    shuffle_free_pages();
  }

  relpos::paged_cache<Stored> cache() { return {memory.memory(), lengths, {table_view()}}; }
  relpos::view<std::int32_t, 2> table_view() {
    return {table.data(), {static_cast<index_t>(lengths.size()), blocks}};
  }
  void make_room(index_t sequence, index_t rows) {
    const relpos::status done = pool.reserve(cache(), sequence, rows);
    EXPECT_TRUE(done) << done.message;
  }

  index_t blocks;
  index_t pages;
  slabs<Stored> memory;
  std::vector<index_t> lengths;
  std::vector<std::int32_t> table;
  relpos::page_pool pool;

 private:
  /// As many sequences of one page as there are pages take them all, and give them back in another
  /// order.
  void shuffle_free_pages() {
    std::vector<index_t> none(static_cast<std::size_t>(pages), 0);
    std::vector<std::int32_t> one_each(none.size());
    const relpos::paged_cache<Stored> all{
        memory.memory(), none, {relpos::view<std::int32_t, 2>(one_each.data(), {pages, 1})}};
    for (index_t i = 0; i < pages; ++i) EXPECT_TRUE(pool.reserve(all, i, 1));
    shuffled{1, 5}.run(pages, [&](index_t i, index_t) { EXPECT_TRUE(pool.truncate(all, i, 0)); });
  }
};

/// Appends rows [first, last) of tensors to each sequence.
template <class Executor, class Own, class T, class... Arguments>
void append_rows_on(const Executor& runner, Own& to, const inputs<T>& in, index_t first,
                    index_t last, const Arguments&... arguments) {
  for (index_t i = 0; i < to.cache().batch(); ++i) {
    to.make_room(i, to.cache().length(i) + last - first);
  }
  const relpos::status done =
      relpos::append(runner, to.cache(), in.k.view().slice(2, first, last - first),
                     in.v.view().slice(2, first, last - first), arguments...);
  EXPECT_TRUE(done) << done.message;
}

template <class Own, class T, class... Arguments>
void append_rows(Own& to, const inputs<T>& in, index_t first, index_t last,
                 const Arguments&... arguments) {
  append_rows_on(relpos::serial{}, to, in, first, last, arguments...);
}

/// The same to one sequence, and nothing to the others.
template <class Own, class T, class... Policies>
void append_rows_of(Own& to, index_t sequence, const inputs<T>& in, index_t first, index_t last,
                    const Policies&... policies) {
  std::vector<index_t> starts(static_cast<std::size_t>(to.cache().batch()) + 1, 0);
  std::fill(starts.begin() + sequence + 1, starts.end(), last - first);
  to.make_room(sequence, to.cache().length(sequence) + last - first);
  const relpos::status done =
      relpos::append(relpos::serial{}, to.cache(), in.k.view().slice(2, first, last - first),
                     in.v.view().slice(2, first, last - first), policies...,
                     relpos::options{.key_starts = starts});
  EXPECT_TRUE(done) << done.message;
}

/// Attention over a cache with workspace of exactly the size asked for, all that is written being
/// watched.
template <class Executor, class Stored, class Placement, class Query, class... Policies>
attended<float> attend_cache_on(const Executor& runner,
                                const relpos::kv_cache<Stored, Placement>& cache,
                                relpos::view<const Query, 4> q, const relpos::options& opts,
                                const Policies&... policies) {
  return attend_watched(runner, q, cache.value_dim(), opts, cache, policies...);
}

template <class Stored, class Placement, class Query, class... Policies>
attended<float> attend_cache(const relpos::kv_cache<Stored, Placement>& cache,
                             const relpos::view<const Query, 4>& q, const relpos::options& opts,
                             const Policies&... policies) {
  return attend_cache_on(relpos::serial{}, cache, q, opts, policies...);
}

/// Rows of a sequence as a call of their own gives them, [1, head, first + row, channel] of the
/// same sequence.
inline void expect_same_rows(const attended<float>& got, const attended<float>& whole,
                             index_t first, index_t sequence = 0, index_t of_whole = 0) {
  const auto& shape = got.out.shape;
  for (index_t head = 0; head < shape[1]; ++head) {
    for (index_t row = 0; row < shape[2]; ++row) {
      const float sum = got.lse(sequence, head, row);
      const float wanted = whole.lse(of_whole, head, first + row);
      ASSERT_EQ(std::memcmp(&sum, &wanted, sizeof sum), 0)
          << "lse of row " << first + row << ": " << sum << " and " << wanted;
      ASSERT_EQ(
          std::memcmp(&got.out(sequence, head, row, 0), &whole.out(of_whole, head, first + row, 0),
                      static_cast<std::size_t>(shape[3]) * sizeof(float)),
          0)
          << "row " << first + row << " of head " << head << ", " << got.out(sequence, head, row, 0)
          << " and " << whole.out(of_whole, head, first + row, 0);
    }
  }
}

}  // namespace support
