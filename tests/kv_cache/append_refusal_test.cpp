// append, truncate and attention refuse a wrong cache with the argument's name, before anything is
// written.

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using support::cache_sizes;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;
using support::tensor;

constexpr cache_sizes room{.batch = 2, .key_heads = 2, .rows = 8, .head_dim = 6, .value_dim = 3};

void expect_refused(const relpos::status& got, status_code code, const std::string& words) {
  EXPECT_FALSE(got);
  EXPECT_EQ(got.code, code) << got.message;
  EXPECT_NE(std::string(got.message).find(words), std::string::npos)
      << got.message << "\nmust say: " << words;
}

/// A cache with three rows of each sequence, and what would be a good fourth.
template <class Own>
struct grown {
  Own own;
  tensor<float> k = support::random_tensor({2, 2, 1, 6}, 1);
  tensor<float> v = support::random_tensor({2, 2, 1, 3}, 2);

  explicit grown(Own empty = Own(room)) : own(std::move(empty)) {
    const support::inputs<float> three{
        {}, support::random_tensor({2, 2, 3, 6}, 3), support::random_tensor({2, 2, 3, 3}, 4)};
    support::append_rows(own, three, 0, 3);
    own.make_room(0, 4);
    own.make_room(1, 4);
  }

  /// Arguments after the runner.
  template <class Cache, class K, class V, class... Arguments>
  void expect_append(status_code code, const std::string& words, const Cache& cache, const K& keys,
                     const V& values, const Arguments&... arguments) {
    SCOPED_TRACE(words);
    const auto memory = own.memory;
    const auto lengths = own.lengths;
    expect_refused(relpos::append(relpos::serial{}, cache, keys, values, arguments...), code,
                   words);
    EXPECT_TRUE(memory == own.memory);
    EXPECT_EQ(lengths, own.lengths);
  }
  void expect_append(status_code code, const std::string& words) {
    expect_append(code, words, own.cache(), k.view(), v.view());
  }
};

TEST(append_refusal, nothing_is_wrong_with_the_fourth_row) {
  grown<own_contiguous<relpos::int8>> of;
  ASSERT_TRUE(relpos::append(relpos::serial{}, of.own.cache(), of.k.view(), of.v.view()));
  EXPECT_EQ(of.own.lengths, (std::vector<index_t>{4, 4}));
}

TEST(append_refusal, rows_that_do_not_belong_to_the_cache) {
  grown<own_contiguous<relpos::int8>> of;
  const auto refuse = [&](const std::string& words, std::array<index_t, 4> k,
                          std::array<index_t, 4> v) {
    of.expect_append(status_code::invalid_shape, words, of.own.cache(),
                     support::random_tensor(k, 5).view(), support::random_tensor(v, 6).view());
  };
  refuse("k: has 3 sequences", {3, 2, 1, 6}, {3, 2, 1, 3});
  refuse("k: has 1 sequences", {1, 2, 1, 6}, {1, 2, 1, 3});
  refuse("k: heads", {2, 1, 1, 6}, {2, 1, 1, 3});
  refuse("k: heads and head_dim", {2, 2, 1, 5}, {2, 2, 1, 3});
  refuse("v: value_dim", {2, 2, 1, 6}, {2, 2, 1, 4});
  refuse("v: batch, heads and length", {2, 2, 1, 6}, {2, 2, 2, 3});
  refuse("v: batch, heads and length", {2, 2, 1, 6}, {2, 1, 1, 3});
  const relpos::view<const float, 4> null(nullptr, {2, 2, 1, 6});
  of.expect_append(status_code::null_data, "k: data is null", of.own.cache(), null, of.v.view());
  of.expect_append(status_code::null_data, "v: data is null", of.own.cache(), of.k.view(),
                   relpos::view<const float, 4>(nullptr, {2, 2, 1, 3}));
}

TEST(append_refusal, sequences_that_are_not_bounded) {
  grown<own_contiguous<float>> of;
  const auto k = support::random_tensor({1, 2, 3, 6}, 5);
  const auto v = support::random_tensor({1, 2, 3, 3}, 6);
  const auto refuse = [&](status_code code, const std::vector<index_t>& starts) {
    of.expect_append(code, "options.key_starts", of.own.cache(), k.view(), v.view(),
                     relpos::options{.key_starts = starts});
  };
  refuse(status_code::invalid_value, {1, 2, 3});
  refuse(status_code::invalid_value, {0, 4, 3});
  refuse(status_code::invalid_shape, {0, 1, 2});
  const std::vector<index_t> three{0, 1, 2, 3};
  of.expect_append(status_code::invalid_shape, "3 sequences", of.own.cache(), k.view(), v.view(),
                   relpos::options{.key_starts = three});
  const std::vector<index_t> offsets{0, 1, 2};
  of.expect_append(status_code::invalid_shape, "options.key_offsets", of.own.cache(), of.k.view(),
                   of.v.view(), relpos::options{.key_offsets = offsets});
  of.expect_append(status_code::invalid_value, "options.key_offset", of.own.cache(), of.k.view(),
                   of.v.view(), relpos::options{.key_offset = index_t{1} << 62});
}

TEST(append_refusal, a_rotation_that_does_not_fit) {
  grown<own_contiguous<float>> of;
  const relpos::rotary_table wide(relpos::rope_frequencies(8), relpos::pair_layout::half_split);
  of.expect_append(status_code::invalid_shape, "rotary", of.own.cache(), of.k.view(), of.v.view(),
                   relpos::rotary{wide});
  const relpos::rotary_table none(relpos::rope_frequencies(3), relpos::pair_layout::half_split);
  of.expect_append(status_code::invalid_value, "rotary", of.own.cache(), of.k.view(), of.v.view(),
                   relpos::rotary{none});
}

template <class Own>
void expect_lengths_refused() {
  grown<Own> of;
  of.own.lengths[1] = -1;
  of.expect_append(status_code::invalid_value, "cache.lengths: is -1 at 1");
  of.own.lengths[1] = index_t{1} << 31;
  of.expect_append(status_code::invalid_value, "cache.lengths: is 2147483648 at 1");
}

TEST(append_refusal, lengths_that_cannot_be) {
  expect_lengths_refused<own_contiguous<relpos::half>>();
  expect_lengths_refused<own_ring<relpos::int8>>();
  expect_lengths_refused<own_paged<float>>();

  grown<own_contiguous<float>> of;
  of.own.lengths[1] = 9;  // of 8 rows
  of.expect_append(status_code::invalid_shape, "cache: sequence 1 would have 9 rows");
  of.own.lengths[1] = 8;
  of.expect_append(status_code::invalid_shape, "cache: sequence 1 would have 9 rows");
  of.own.lengths = {3, 3, 3};
  of.expect_append(status_code::invalid_shape, "cache.lengths: has 3 numbers");

  // A ring has room for ever, but not for more than 2^31 - 1 rows.
  grown<own_ring<float>> ring;
  ring.own.lengths[0] = (index_t{1} << 31) - 1;
  ring.own.oldest[0] = ring.own.lengths[0] - 8;
  ring.expect_append(status_code::invalid_shape, "k: sequence 0 would have 2147483648 rows");
}

TEST(append_refusal, one_sequence_without_room_leaves_the_others_alone) {
  grown<own_paged<float>> of(own_paged<float>(room, 2));
  of.own.table[7] = -1;  // not looked at before sequence 1 has 7 rows
  ASSERT_TRUE(relpos::append(relpos::serial{}, of.own.cache(), of.k.view(), of.v.view()));
  of.own.table[6] = -1;  // of sequence 1: rows 4 and 5
  of.own.make_room(0, 5);
  of.expect_append(status_code::invalid_value, "cache.block_table: is -1 at [1, 2]");
}

/// Two blocks of a table of four: pages of 2 rows for 4 rows.
relpos::paged_cache<float> narrowed(own_paged<float>& of) {
  auto cache = of.cache();
  cache.placement.block_table = cache.placement.block_table.slice(1, 0, 2);
  return cache;
}

TEST(append_refusal, a_block_table_that_is_too_narrow_for_new_rows) {
  grown<own_paged<float>> of(own_paged<float>(room, 2));
  const support::inputs<float> fourth{{}, tensor<float>({1, 2, 1, 6}), tensor<float>({1, 2, 1, 3})};
  support::append_rows_of(of.own, 1, fourth, 0, 1);
  of.own.make_room(1, 5);
  of.expect_append(status_code::invalid_shape,
                   "cache.block_table: sequence 1 needs 3 pages for 5 rows", narrowed(of.own),
                   of.k.view(), of.v.view());
  ASSERT_TRUE(relpos::append(relpos::serial{}, of.own.cache(), of.k.view(), of.v.view()));
}

TEST(append_refusal, a_block_table_that_is_too_narrow_for_the_lengths) {
  grown<own_paged<float>> of(own_paged<float>(room, 2));
  const tensor<float> q = support::random_tensor({2, 2, 1, 6}, 1);
  tensor<float> out({2, 2, 1, 3}, 5.0f);
  tensor<float, 3> lse({2, 2, 1}, 5.0f);
  const auto before = out;
  const auto lse_before = lse;
  std::vector<unsigned char> memory(1 << 20);
  for (const index_t length : {4, 5}) {
    of.own.lengths[1] = length;
    const auto cache = narrowed(of.own);
    const relpos::options opts{.lse = lse.view()};
    const relpos::status done = relpos::attention(relpos::serial{}, {memory.data(), memory.size()},
                                                  out.view(), q.view(), cache, opts);
    if (length == 4) {
      ASSERT_TRUE(done) << done.message;
      EXPECT_FALSE(same_bits(out, before));
      out = before;
      lse = lse_before;
      continue;
    }
    expect_refused(done, status_code::invalid_shape,
                   "cache.block_table: sequence 1 needs 3 pages for 5 rows");
    EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, q.view(), cache, opts), 0u);
    EXPECT_TRUE(same_bits(out, before));
    EXPECT_TRUE(same_bits(lse, lse_before));
  }
}

TEST(append_refusal, a_ring_that_is_not_what_it_says) {
  grown<own_ring<float>> of(own_ring<float>(room, 2));
  of.own.oldest[1] = -1;
  of.expect_append(status_code::invalid_value, "cache.oldest: is -1 at 1");
  of.own.oldest = {0};
  of.expect_append(status_code::invalid_shape, "oldest");
  of.own.oldest = {2, 2};
  for (const index_t kept : {-1, 8, 9}) {
    of.own.sinks = kept;
    of.expect_append(status_code::invalid_value, "cache.sinks");
  }
  of.own.sinks = 2;
  of.own.lengths = {3, 9};  // rows [2, 9) in a ring of 6
  of.expect_append(status_code::invalid_value, "cache.oldest: is 2 at 1");
  of.own.lengths = {3, 0};  // as of a sequence that was emptied by hand
  of.own.oldest = {2, 50};
  of.expect_append(status_code::invalid_value, "cache.oldest: is 50 at 1");
}

TEST(append_refusal, memory_that_cannot_be) {
  grown<own_contiguous<relpos::int8>> of;
  const auto refuse = [&](status_code code, const std::string& words, auto&& change) {
    auto cache = of.own.cache();
    change(cache.memory);
    of.expect_append(code, words, cache, of.k.view(), of.v.view());
  };
  using memory = relpos::cache_memory<relpos::int8>;
  refuse(status_code::null_data, "cache.keys", [](memory& m) { m.keys.data = nullptr; });
  refuse(status_code::null_data, "cache.values", [](memory& m) { m.values.data = nullptr; });
  refuse(status_code::null_data, "cache.key_scales",
         [](memory& m) { m.key_scales.data = nullptr; });
  refuse(status_code::invalid_shape, "cache.key_scales", [](memory& m) { m.key_scales = {}; });
  refuse(status_code::invalid_shape, "cache.value_scales",
         [](memory& m) { m.value_scales = m.value_scales.slice(2, 0, 7); });
  refuse(status_code::invalid_shape, "cache.values",
         [](memory& m) { m.values = m.values.slice(2, 0, 7); });
  refuse(status_code::invalid_stride, "cache.keys", [](memory& m) { m.keys.strides[2] = 0; });
  refuse(status_code::invalid_shape, "contiguous", [](memory& m) {
    m.keys.shape[3] = 3;
    m.keys.strides[3] = 2;
  });
}

TEST(append_refusal, more_than_1024_channels) {
  for (const auto& [head_dim, value_dim] :
       {std::array<index_t, 2>{1025, 3}, {6, 1025}, {1024, 1024}}) {
    own_contiguous<float> of(
        {.batch = 1, .key_heads = 1, .rows = 2, .head_dim = head_dim, .value_dim = value_dim});
    const auto before = of.memory;
    const relpos::status done = relpos::append(
        relpos::serial{}, of.cache(), support::random_tensor({1, 1, 1, head_dim}, 1).view(),
        support::random_tensor({1, 1, 1, value_dim}, 2).view());
    if (head_dim == value_dim) {
      EXPECT_TRUE(done) << done.message;
      continue;
    }
    expect_refused(done, status_code::invalid_shape, "1024 channels");
    EXPECT_TRUE(before == of.memory);
  }
}

TEST(append_refusal, rows_that_lie_in_the_cache) {
  grown<own_contiguous<float>> of;
  const relpos::cache_memory<float> memory = of.own.memory.memory();
  of.expect_append(status_code::overlap, "cache.keys", of.own.cache(), memory.keys.slice(2, 0, 1),
                   of.v.view());
  of.expect_append(status_code::overlap, "cache.values", of.own.cache(), of.k.view(),
                   memory.values.slice(2, 7, 1));
  grown<own_contiguous<relpos::int8>> scaled;
  const auto scales = scaled.own.memory.memory().value_scales;
  scaled.expect_append(status_code::overlap, "cache.value_scales", scaled.own.cache(),
                       scaled.k.view(), relpos::view<const float, 4>(scales.data, {2, 2, 1, 3}));
}

TEST(append_refusal, parts_of_a_cache_that_share_memory) {
  // Keys and values in the same bytes: an append would write one over the other.
  own_contiguous<float> of({.batch = 1, .key_heads = 1, .rows = 4, .head_dim = 3, .value_dim = 3});
  auto cache = of.cache();
  cache.memory.values = cache.memory.keys;
  const auto k = support::random_tensor({1, 1, 1, 3}, 1);
  EXPECT_FALSE(relpos::append(relpos::serial{}, cache, k.view(), k.view()));
}

TEST(append_refusal, truncation_out_of_range) {
  const auto expect = [](auto of) {
    const auto lengths = of.own.lengths;
    const auto truncate = [&](index_t sequence, index_t length, const std::string& words) {
      expect_refused(relpos::truncate(of.own.cache(), sequence, length), status_code::invalid_value,
                     words);
      EXPECT_EQ(of.own.lengths, lengths);
    };
    truncate(2, 0, "sequence: is 2");
    truncate(-1, 0, "sequence: is -1");
    truncate(0, -1, "length: is -1");
    truncate(0, 4, "length: is 4");
  };
  expect(grown<own_contiguous<float>>());
  expect(grown<own_ring<float>>());
  expect(grown<own_paged<float>>());
}

TEST(append_refusal, queries_that_do_not_belong_to_the_cache) {
  grown<own_contiguous<float>> of;
  const auto refuse = [&](std::array<index_t, 4> shape, const std::string& words) {
    const tensor<float> q = support::random_tensor(shape, 1);
    tensor<float> out({shape[0], shape[1], shape[2], 3}, 5.0f);
    const tensor<float> before = out;
    std::vector<unsigned char> memory(1 << 20);
    EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, q.view(), of.own.cache()), 0u);
    expect_refused(relpos::attention(relpos::serial{}, {memory.data(), memory.size()}, out.view(),
                                     q.view(), of.own.cache()),
                   status_code::invalid_shape, words);
    EXPECT_TRUE(same_bits(out, before));
  };
  refuse({3, 2, 1, 6}, "cache: has 2 sequences");
  refuse({2, 2, 1, 5}, "cache.keys: head_dim");
  refuse({2, 3, 1, 6}, "cache.keys: query heads");
}

}  // namespace
