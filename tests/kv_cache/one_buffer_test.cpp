// Keys and values that are woven into one buffer, as other libraries keep their pages: no element
// is shared, and caches give the bits that they give with two buffers.

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kv_cache/elsewhere.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using relpos::view;
using support::cache_sizes;
using support::elsewhere;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;
using support::small_cache;

enum class layout {
  halves,     // [slab, keys | values, row, head, channel]
  by_channel  // [slab, row, head, channels of keys | of values]
};

/// Views of a buffer; `buffer` is resized to it, and full of NaN.
template <class Stored>
relpos::cache_memory<Stored> woven(layout order, std::vector<Stored>& buffer, index_t slabs,
                                   index_t rows, const cache_sizes& of) {
  const index_t k = of.head_dim;
  const index_t v = of.value_dim;
  const index_t slab = rows * of.key_heads * (k + v);
  buffer.resize(static_cast<std::size_t>(slabs * slab));
  std::memset(static_cast<void*>(buffer.data()), 0xff, buffer.size() * sizeof(Stored));
  const auto part = [&](index_t first, index_t channels, index_t step) {
    return view<Stored, 4>(buffer.data() + first, {slabs, of.key_heads, rows, channels},
                           {slab, step, of.key_heads * step, 1});
  };
  if (order == layout::halves) return {part(0, k, k), part(rows * of.key_heads * k, v, v)};
  return {part(0, k, k + v), part(k, v, k + v)};
}

template <class Own>
void expect_no_difference(const Own& empty, index_t slabs, index_t rows) {
  for (const layout order : {layout::halves, layout::by_channel}) {
    Own apart = empty;
    elsewhere<Own> plain{empty, apart.memory.memory()};
    std::vector<float> buffer;
    elsewhere<Own> one{empty, woven(order, buffer, slabs, rows, small_cache)};
    const auto in = support::random_inputs(
        {.key_heads = 2, .key_length = 19, .head_dim = 12, .value_dim = 8}, 4);
    const support::inputs<float> for_all{
        {}, support::random_tensor({3, 2, 2, 12}, 5), support::random_tensor({3, 2, 2, 8}, 6)};
    const auto append = [&](auto& to, index_t sequence, index_t first, index_t last) {
      support::append_rows_of(to, sequence, in, first, last);
    };
    for (auto* const each : {&plain, &one}) {
      support::live(*each, append);
      support::append_rows(*each, for_all, 0, 2);
    }
    support::expect_same_attention(one, plain, 4, 2);
  }
}

TEST(one_buffer, sequences) { expect_no_difference(own_contiguous<float>(small_cache), 3, 24); }

TEST(one_buffer, rings) {
  cache_sizes short_ring = small_cache;
  short_ring.rows = 14;
  expect_no_difference(own_ring<float>(short_ring, 2, 8), 3, 14);
}

TEST(one_buffer, pages) {
  const own_paged<float> of(small_cache, 4, 20);
  expect_no_difference(of, 20, 4);
}

/// Bytes of a head: channels of the key, its scale, channels of the value, its scale.
TEST(one_buffer, int8_beside_its_scales) {
  constexpr index_t slabs = 2, heads = 2, rows = 5, k = 12, v = 8, head = k + 4 + v + 4;
  std::vector<float> buffer(slabs * rows * heads * head / 4);
  auto* const bytes = reinterpret_cast<relpos::int8*>(buffer.data());
  const auto channels = [&](index_t first, index_t count) {
    return view<relpos::int8, 4>(bytes + first, {slabs, heads, rows, count},
                                 {rows * heads * head, head, heads * head, 1});
  };
  const auto scales = [&](index_t first) {
    return view<float, 3>(buffer.data() + first / 4, {slabs, heads, rows},
                          {rows * heads * head / 4, head / 4, heads * head / 4});
  };
  std::vector<index_t> lengths(2, 0);
  const relpos::cache_memory<relpos::int8> memory{channels(0, k), channels(k + 4, v), scales(k),
                                                  scales(k + 4 + v)};
  const relpos::contiguous_cache<relpos::int8> one{memory, lengths};
  own_contiguous<relpos::int8> apart(
      {.batch = 2, .key_heads = heads, .rows = rows, .head_dim = k, .value_dim = v});
  const auto keys = support::random_tensor({2, heads, rows, k}, 1);
  const auto values = support::random_tensor({2, heads, rows, v}, 2);
  const relpos::status done = relpos::append(relpos::serial{}, one, keys.view(), values.view());
  ASSERT_TRUE(done) << done.message;
  ASSERT_TRUE(relpos::append(relpos::serial{}, apart.cache(), keys.view(), values.view()));
  const relpos::cache_memory<relpos::int8> wanted = apart.memory.memory();
  for (index_t row = 0; row < slabs * heads * rows; ++row) {
    const index_t at[] = {row / rows / heads, row / rows % heads, row % rows};
    for (index_t c = 0; c < k; ++c) {
      ASSERT_EQ(memory.keys(at[0], at[1], at[2], c), wanted.keys(at[0], at[1], at[2], c));
    }
    for (index_t c = 0; c < v; ++c) {
      ASSERT_EQ(memory.values(at[0], at[1], at[2], c), wanted.values(at[0], at[1], at[2], c));
    }
    ASSERT_EQ(memory.key_scales(at[0], at[1], at[2]), wanted.key_scales(at[0], at[1], at[2]));
    ASSERT_EQ(memory.value_scales(at[0], at[1], at[2]), wanted.value_scales(at[0], at[1], at[2]));
  }

  // The scale of a key on its last channels.
  lengths = {0, 0};
  relpos::cache_memory<relpos::int8> shifted = memory;
  shifted.key_scales.data = reinterpret_cast<float*>(bytes + k - 4);
  support::expect_refusal(
      relpos::append(relpos::serial{}, relpos::contiguous_cache<relpos::int8>{shifted, lengths},
                     keys.view(), values.view()),
      status_code::overlap, {"cache.keys [2, 2, 5, 12] overlaps cache.key_scales [2, 2, 5]"});
}

/// Values that begin `step` elements from where they should.
void expect_shift_refused(layout order, index_t step) {
  std::vector<float> buffer;
  own_paged<float> of(small_cache, 4, 20);
  relpos::cache_memory<float> memory = woven(order, buffer, 20, 4, small_cache);
  memory.values.data += step;
  memory.values.shape[0] = memory.keys.shape[0] = 19;  // within the buffer in any case
  of.pool = relpos::page_pool(19);
  elsewhere<own_paged<float>> one{of, memory};
  for (index_t sequence = 0; sequence < 3; ++sequence) one.make_room(sequence, 1);
  const auto k = support::random_tensor({3, 2, 1, 12}, 1);
  const auto v = support::random_tensor({3, 2, 1, 8}, 2);
  const std::vector<float> before = buffer;
  support::expect_refusal(relpos::append(relpos::serial{}, one.cache(), k.view(), v.view()),
                          status_code::overlap,
                          {"cache.keys: memory of cache.keys [19, 2, 4, 12] overlaps cache.values "
                           "[19, 2, 4, 8]"});
  EXPECT_EQ(std::memcmp(before.data(), buffer.data(), before.size() * sizeof(float)), 0);
}

TEST(one_buffer, values_on_keys_are_refused) {
  for (const index_t channels : {-1, 1}) expect_shift_refused(layout::by_channel, channels);
  expect_shift_refused(layout::by_channel, -11);
  for (const index_t row : {-16, 16}) expect_shift_refused(layout::halves, row);
  for (const index_t channel : {-1, 1}) expect_shift_refused(layout::halves, channel);
}

/// New rows may lie between the rows of the cache, but not on them.
TEST(one_buffer, rows_between_the_rows_of_the_cache) {
  std::vector<float> buffer;
  const cache_sizes three_parts{
      .batch = 1, .key_heads = 1, .rows = 4, .head_dim = 6, .value_dim = 9};
  own_contiguous<float> of(three_parts);
  auto cache = of.cache();
  cache.memory = woven(layout::by_channel, buffer, 1, 4, three_parts);
  std::fill(buffer.begin(), buffer.end(), 0.5f);
  cache.memory.values.shape[3] = 3;
  const view<float, 4> between(buffer.data() + 9, {1, 1, 2, 6}, {0, 0, 15, 1});
  const relpos::status done =
      relpos::append(relpos::serial{}, cache, between, between.slice(3, 0, 3));
  EXPECT_TRUE(done) << done.message;
  const view<float, 4> on_it(buffer.data() + 10, {1, 1, 2, 6}, {0, 0, 15, 1});
  support::expect_refusal(
      relpos::append(relpos::serial{}, cache, on_it, between.slice(3, 0, 3)), status_code::overlap,
      {"cache.keys: memory of cache.keys [1, 1, 4, 6] overlaps k [1, 1, 2, 6]"});
}

}  // namespace
