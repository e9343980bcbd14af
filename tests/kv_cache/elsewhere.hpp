#pragma once
// Two caches that differ in where their memory is, through the life of a cache: what attention
// gives must not differ.

#include <gtest/gtest.h>

#include <string>
#include <type_traits>
#include <utility>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"

namespace support {

inline constexpr cache_sizes small_cache{
    .batch = 3, .key_heads = 2, .rows = 24, .head_dim = 12, .value_dim = 8};

/// A cache like `Own`, over other memory.
template <class Own>
struct elsewhere {
  using stored = typename Own::stored;
  static constexpr bool is_paged = requires(Own& of) { of.pool; };

  Own own;
  relpos::cache_memory<stored> memory;

  auto cache() {
    auto result = own.cache();
    result.memory = memory;
    return result;
  }
  void make_room(index_t sequence, index_t rows) {
    if constexpr (is_paged) expect(own.pool.reserve(cache(), sequence, rows));
  }
  void truncate(index_t sequence, index_t length) {
    if constexpr (is_paged) {
      expect(own.pool.truncate(cache(), sequence, length));
    } else {
      expect(relpos::truncate(cache(), sequence, length));
    }
  }
  /// An empty sequence takes over the rows of the first one.
  void fork(index_t to) {
    if constexpr (is_paged) expect(own.pool.fork(cache(), 0, to));
  }

  static void expect(const relpos::status& done) { EXPECT_TRUE(done) << done.message; }
};

/// Appends, takes back and forks, by append(cache, sequence, first, last) of rows.
template <class Cache, class Append>
void live(Cache& of, const Append& append) {
  append(of, 0, 0, 11);
  append(of, 1, 0, 5);
  of.truncate(1, 3);
  append(of, 1, 5, 12);
  of.fork(2);
  append(of, 2, 11, 14);  // on a page that the first sequence has too, of which it gets a copy
  append(of, 0, 14, 19);
  of.truncate(0, 13);
}

/// The bits of attention over both caches, by either kernel.
template <class A, class B>
void expect_same_attention(A& a, B& b, index_t query_heads, index_t queries) {
  const auto cache = a.cache();
  const auto q = random_tensor({cache.batch(), query_heads, queries, cache.head_dim()}, 9, 3.0f);
  for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    const relpos::options opts{.kernel = kernel};
    const auto got = attend_cache(cache, q.view(), opts, relpos::causal{});
    const auto wanted = attend_cache(b.cache(), q.view(), opts, relpos::causal{});
    EXPECT_TRUE(same_bits(got, wanted));
    for (const float each : wanted.lse.values) ASSERT_TRUE(std::isfinite(each));
  }
}

/// Refused with a message that has all of `words`.
inline void expect_refusal(const relpos::status& got, relpos::status_code code,
                           std::initializer_list<std::string> words) {
  EXPECT_EQ(got.code, code) << got.message;
  for (const std::string& each : words) {
    EXPECT_NE(std::string(got.message).find(each), std::string::npos)
        << got.message << "\nmust say: " << each;
  }
}

}  // namespace support
