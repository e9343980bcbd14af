// Pages: which are free, which are shared, and that no sequence notices where its rows lie.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using support::attended;
using support::cache_sizes;
using support::inputs;
using support::own_contiguous;
using support::own_paged;
using support::tensor;

const std::vector<float> slopes{0.3f, 0.004f};

constexpr cache_sizes room{.batch = 3, .key_heads = 2, .rows = 96, .head_dim = 32, .value_dim = 16};

inputs<float> rows_of(std::uint32_t seed) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = 5,
                                 .key_length = 96,
                                 .head_dim = 32,
                                 .value_dim = 16},
                                seed);
}

/// Each sequence beside a cache of its own that has no pages, to which the same rows are appended.
template <class Stored>
class twins {
 public:
  own_paged<Stored> paged;

  explicit twins(index_t page_rows = 16, index_t pages = -1) : paged(room, page_rows, pages) {
    auto of_one = room;
    of_one.batch = 1;
    alone_.assign(3, own_contiguous<Stored>(of_one));
  }

  void append(index_t sequence, std::uint32_t seed, index_t first, index_t last) {
    support::append_rows_of(paged, sequence, rows_of(seed), first, last);
    support::append_rows(alone(sequence), rows_of(seed), first, last);
  }
  void fork(index_t from, index_t to) {
    const relpos::status done = paged.pool.fork(paged.cache(), from, to);
    EXPECT_TRUE(done) << done.message;
    alone(to) = alone(from);
  }
  void truncate(index_t sequence, index_t length) {
    EXPECT_TRUE(paged.pool.truncate(paged.cache(), sequence, length));
    EXPECT_TRUE(relpos::truncate(alone(sequence).cache(), 0, length));
  }

  void expect_same() {
    const inputs<float> in = rows_of(1);
    tensor<float> q({3, 2, 5, 32});
    for (auto to = q.values.begin(); to != q.values.end(); to += 2 * 5 * 32) {
      std::copy(in.q.values.begin(), in.q.values.end(), to);
    }
    const auto& queries = q;
    for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
      const relpos::options opts{.kernel = kernel};
      const attended<float> got = support::attend_cache(paged.cache(), queries.view(), opts,
                                                        relpos::alibi{slopes}, relpos::causal{});
      for (index_t i = 0; i < 3; ++i) {
        SCOPED_TRACE(testing::Message() << "sequence " << i);
        EXPECT_EQ(paged.cache().length(i), alone(i).cache().length(0));
        support::expect_same_rows(got,
                                  support::attend_cache(alone(i).cache(), in.q.view(), opts,
                                                        relpos::alibi{slopes}, relpos::causal{}),
                                  0, i);
      }
    }
  }

  std::int32_t page(index_t sequence, index_t block) { return paged.table_view()(sequence, block); }

 private:
  own_contiguous<Stored>& alone(index_t sequence) {
    return alone_[static_cast<std::size_t>(sequence)];
  }

  std::vector<own_contiguous<Stored>> alone_;
};

template <class Stored>
void expect_copy_on_write() {
  twins<Stored> of;  // 18 pages of 16
  auto& pool = of.paged.pool;
  of.append(0, 1, 0, 40);
  EXPECT_EQ(pool.free_pages(), 15);
  of.fork(0, 1);
  of.fork(0, 2);
  EXPECT_EQ(pool.free_pages(), 15);
  const std::int32_t last = of.page(0, 2);
  for (const index_t block : {0, 1, 2}) {
    EXPECT_EQ(pool.uses(of.page(0, block)), 3);
    EXPECT_EQ(of.page(1, block), of.page(0, block));
  }
  of.expect_same();

  of.append(1, 2, 0, 1);
  EXPECT_NE(of.page(1, 2), last);
  EXPECT_EQ(pool.uses(last), 2);
  EXPECT_EQ(pool.uses(of.page(1, 2)), 1);
  EXPECT_EQ(pool.free_pages(), 14);
  of.expect_same();
  of.append(0, 3, 0, 30);  // to row 70: a copy and two more
  EXPECT_EQ(pool.free_pages(), 11);
  of.append(2, 4, 0, 9);  // to row 49: the last user needs no copy, and one more
  EXPECT_EQ(of.page(2, 2), last);
  EXPECT_EQ(pool.uses(last), 1);
  EXPECT_EQ(pool.free_pages(), 10);
  EXPECT_EQ(pool.uses(of.page(0, 1)), 3);
  of.expect_same();

  for (const index_t sequence : {1, 0, 2}) {
    of.truncate(sequence, 0);
    of.expect_same();
  }
  EXPECT_EQ(pool.free_pages(), 18);
  for (std::int32_t page = 0; page < 18; ++page) EXPECT_EQ(pool.uses(page), 0);
}

TEST(paged_cache, forks_share_pages_until_they_differ) {
  expect_copy_on_write<float>();
  expect_copy_on_write<relpos::int8>();
}

TEST(paged_cache, a_fork_at_the_end_of_a_page_copies_nothing) {
  twins<float> of;
  of.append(0, 1, 0, 32);
  of.fork(0, 1);
  of.append(0, 2, 0, 1);
  of.append(1, 3, 0, 1);
  EXPECT_EQ(of.paged.pool.free_pages(), 14);
  EXPECT_EQ(of.page(0, 1), of.page(1, 1));
  EXPECT_NE(of.page(0, 2), of.page(1, 2));
  of.expect_same();
}

TEST(paged_cache, pages_reserved_in_advance_are_not_shared) {
  twins<float> of;
  of.append(0, 1, 0, 20);
  of.paged.make_room(0, 80);
  EXPECT_EQ(of.paged.pool.free_pages(), 13);
  of.fork(0, 1);
  of.append(1, 2, 0, 60);  // a copy and three more
  EXPECT_EQ(of.paged.pool.free_pages(), 9);
  of.append(0, 3, 0, 60);
  EXPECT_EQ(of.paged.pool.free_pages(), 9);
  of.expect_same();
  of.truncate(0, 20);
  of.paged.make_room(0, 64);
  of.truncate(0, 20);  // gives back what was reserved
  EXPECT_EQ(of.paged.pool.free_pages(), 12);
  of.expect_same();
}

TEST(paged_cache, rows_of_any_number_to_a_page) {
  for (const index_t page_rows : {1, 2, 7, 15, 16, 31, 64, 96, 97, 200}) {
    SCOPED_TRACE(page_rows);
    twins<relpos::half> of(page_rows);
    for (const index_t length : {1, 6, 7, 15, 16, 17, 50, 64, 96}) {
      of.append(0, 1, of.paged.lengths[0], length);
      if (length < 90) of.append(2, 2, of.paged.lengths[2], length + 3);
      of.expect_same();
    }
  }
}

TEST(paged_cache, drafts_that_are_not_taken) {
  twins<float> of;
  of.append(0, 1, 0, 30);
  of.fork(0, 1);
  const index_t free = of.paged.pool.free_pages();
  of.append(0, 2, 0, 20);  // drafts: a copy and two more pages
  EXPECT_EQ(of.paged.pool.free_pages(), free - 3);
  of.truncate(0, 33);
  EXPECT_EQ(of.paged.pool.free_pages(), free - 2);
  of.append(0, 3, 0, 40);
  of.expect_same();
  of.truncate(1, 10);  // inside of a page that both have
  of.append(1, 4, 0, 3);
  EXPECT_NE(of.page(1, 0), of.page(0, 0));
  of.expect_same();
}

// truncate of kv_cache.hpp is for all caches, and leaves pages where they are.
TEST(paged_cache, a_fork_keeps_its_rows_when_the_other_is_truncated_without_the_pool) {
  twins<float> of;
  of.append(0, 1, 0, 40);
  of.fork(0, 1);
  ASSERT_TRUE(relpos::truncate(of.paged.cache(), 0, 20));
  support::append_rows_of(of.paged, 0, rows_of(2), 0, 20);
  of.truncate(0, 0);
  of.expect_same();
}

TEST(paged_cache, entries_behind_the_length_are_not_read) {
  for (const index_t length : {0, 1, 15, 16, 17, 32}) {
    for (const std::int32_t garbage : {std::numeric_limits<std::int32_t>::max(), -5}) {
      SCOPED_TRACE(testing::Message() << length << " rows before " << garbage);
      twins<float> of;
      of.append(0, 1, 0, length);
      of.append(1, 1, 0, 32);
      for (index_t i = 0; i < 3; ++i) {
        const index_t used = (of.paged.cache().length(i) + 15) / 16;
        for (index_t block = used; block < of.paged.blocks; ++block) {
          of.paged.table_view()(i, block) = garbage;
        }
      }
      of.expect_same();
      of.append(0, 2, 0, 0);
      of.append(0, 2, 0, 20);  // the pool writes what it needs
      of.expect_same();
    }
  }
}

void expect_says(const relpos::status& got, status_code code, const std::string& words) {
  EXPECT_EQ(got.code, code) << got.message;
  EXPECT_NE(std::string(got.message).find(words), std::string::npos)
      << got.message << "\nmust say: " << words;
}

TEST(paged_cache, pages_that_do_not_exist_are_refused) {
  for (const std::int32_t wrong : {-1, 18, std::numeric_limits<std::int32_t>::max()}) {
    for (const index_t block : {0, 1, 2}) {
      twins<float> of;
      of.append(0, 1, 0, 16);
      of.append(1, 1, 0, 40);
      of.paged.table_view()(1, block) = wrong;
      const auto before = of.paged.memory;
      const tensor<float> q = support::random_tensor({3, 2, 1, 32}, 1);
      tensor<float> out({3, 2, 1, 16}, 7.0f);
      const tensor<float> untouched = out;
      std::vector<unsigned char> memory(1 << 20);
      expect_says(
          relpos::attention(relpos::serial{}, {memory.data(), memory.size()}, out.view(), q.view(),
                            of.paged.cache(), relpos::alibi{slopes}, relpos::causal{}),
          status_code::invalid_value, "cache.block_table");
      EXPECT_TRUE(same_bits(out, untouched));
      const tensor<float> k = support::random_tensor({3, 2, 1, 32}, 1);
      const tensor<float> v = support::random_tensor({3, 2, 1, 16}, 1);
      expect_says(relpos::append(relpos::serial{}, of.paged.cache(), k.view(), v.view()),
                  status_code::invalid_value, "cache.block_table");
      EXPECT_TRUE(before == of.paged.memory);
      EXPECT_EQ(of.paged.lengths, (std::vector<index_t>{16, 40, 0}));
    }
  }
}

TEST(paged_cache, what_the_pool_cannot_do_changes_nothing) {
  twins<float> of(16, 4);
  auto& pool = of.paged.pool;
  of.append(0, 1, 0, 40);
  const auto refuse = [&](auto&& act, status_code code, const std::string& words) {
    const auto table = of.paged.table;
    const auto lengths = of.paged.lengths;
    const index_t free = pool.free_pages();
    const std::vector<index_t> uses{pool.uses(0), pool.uses(1), pool.uses(2), pool.uses(3)};
    expect_says(act(of.paged.cache()), code, words);
    EXPECT_EQ(table, of.paged.table);
    EXPECT_EQ(lengths, of.paged.lengths);
    EXPECT_EQ(free, pool.free_pages());
    EXPECT_EQ(uses, (std::vector<index_t>{pool.uses(0), pool.uses(1), pool.uses(2), pool.uses(3)}));
  };
  using cache = relpos::paged_cache<float>;
  const auto value = status_code::invalid_value;
  const auto shape = status_code::invalid_shape;
  refuse([&](const cache& c) { return pool.reserve(c, 1, 17); }, value, "page_pool: 2 pages");
  refuse([&](const cache& c) { return pool.reserve(c, 0, 65); }, value, "page_pool: 2 pages");
  refuse([&](const cache& c) { return pool.reserve(c, 0, 97); }, shape, "cache.block_table");
  refuse([&](const cache& c) { return pool.reserve(c, 3, 1); }, value, "sequence: is 3");
  refuse([&](const cache& c) { return pool.reserve(c, -1, 1); }, value, "sequence: is -1");
  refuse([&](const cache& c) { return pool.fork(c, 0, 0); }, value, "to: sequence 0");
  refuse([&](const cache& c) { return pool.fork(c, 1, 0); }, value, "to: sequence 0");
  refuse([&](const cache& c) { return pool.fork(c, 0, 3); }, value, "sequence: is 3");
  refuse([&](const cache& c) { return pool.truncate(c, 0, 41); }, value, "length: is 41");
  refuse([&](const cache& c) { return pool.truncate(c, 0, -1); }, value, "length: is -1");
  relpos::page_pool other(5);
  refuse([&](const cache& c) { return other.reserve(c, 0, 1); }, shape, "page_pool: has 5 pages");

  of.fork(0, 1);
  of.paged.make_room(2, 1);  // the last page
  refuse([&](const cache& c) { return pool.reserve(c, 1, 41); }, value, "page_pool: 1 pages");
  EXPECT_TRUE(pool.reserve(of.paged.cache(), 1, 40));  // nothing to write, nothing to copy
  refuse([&](const cache& c) { return pool.fork(c, 0, 2); }, value, "to: sequence 2");
  of.truncate(2, 0);
  of.append(1, 2, 0, 5);
  of.expect_same();
}

}  // namespace
