// Latent caches: values that are the first channels of the keys. They are stored once, and
// attention over them has the bits that it has over the same keys and values stored apart.

#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>
#include <vector>

#include "kv_cache/elsewhere.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using relpos::latent_memory;
using relpos::status_code;
using support::cache_sizes;
using support::elsewhere;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;
using support::small_cache;
using support::tensor;

/// The keys of an own cache, and values among them.
template <class Stored>
relpos::cache_memory<Stored> latent(const relpos::cache_memory<Stored>& of) {
  if constexpr (relpos::storage_traits<Stored>::is_scaled) {
    return latent_memory(of.keys, of.values.shape[3], of.key_scales);
  } else {
    return latent_memory(of.keys, of.values.shape[3]);
  }
}

template <class Cache>
void append_latent(Cache& to, index_t sequence, const tensor<float>& keys, index_t first,
                   index_t last) {
  std::vector<index_t> starts(static_cast<std::size_t>(to.cache().batch()) + 1, 0);
  std::fill(starts.begin() + sequence + 1, starts.end(), last - first);
  to.make_room(sequence, to.cache().length(sequence) + last - first);
  const relpos::status done =
      relpos::append(relpos::serial{}, to.cache(), keys.view().slice(2, first, last - first),
                     relpos::options{.key_starts = starts});
  EXPECT_TRUE(done) << done.message;
}

/// Copies the first channels of stored keys to values of their own.
template <class Stored>
void copy_values(support::slabs<Stored>& to, const support::slabs<Stored>& from) {
  to.keys = from.keys;
  to.key_scales = to.value_scales = from.key_scales;
  const auto values = to.values.view();
  const auto keys = from.keys.view();
  for (index_t row = 0; row < values.shape[0] * values.shape[1] * values.shape[2]; ++row) {
    for (index_t c = 0; c < values.shape[3]; ++c) {
      values.data[row * values.shape[3] + c] = keys.data[row * keys.shape[3] + c];
    }
  }
}

template <class Own>
void expect_no_difference(const Own& empty, index_t query_heads, index_t queries) {
  Own held = empty;
  elsewhere<Own> one{empty, latent(held.memory.memory())};
  const cache_sizes sizes{.key_heads = one.memory.keys.shape[1],
                          .head_dim = one.memory.keys.shape[3],
                          .value_dim = one.memory.values.shape[3]};
  const auto keys = support::random_tensor({1, sizes.key_heads, 19, sizes.head_dim}, 4);
  support::live(one, [&](auto& to, index_t sequence, index_t first, index_t last) {
    append_latent(to, sequence, keys, first, last);
  });
  Own apart = one.own;
  copy_values(apart.memory, held.memory);
  support::expect_same_attention(one, apart, query_heads, queries);
}

TEST(latent, sequences) {
  expect_no_difference(own_contiguous<relpos::int8>(small_cache), 4, 2);
  expect_no_difference(own_contiguous<relpos::float8_e4m3>(small_cache), 4, 2);
}

TEST(latent, rings) {
  cache_sizes short_ring = small_cache;
  short_ring.rows = 14;
  expect_no_difference(own_ring<relpos::bfloat16>(short_ring, 2, 8), 4, 2);
}

TEST(latent, pages) {
  expect_no_difference(own_paged<float>(small_cache, 4, 20), 4, 2);
  expect_no_difference(own_paged<relpos::half>(small_cache, 4, 20), 4, 2);
}

TEST(latent, sizes_of_deepseek) {
  expect_no_difference(
      own_paged<relpos::half>(
          {.batch = 3, .key_heads = 1, .rows = 24, .head_dim = 576, .value_dim = 512}, 16, 6),
      128, 1);
}

/// Keys alone are given, and what is stored is what a cache of keys and values stores of the same.
TEST(latent, appended_once_as_both) {
  own_contiguous<float> own(
      {.batch = 2, .key_heads = 2, .rows = 5, .head_dim = 12, .value_dim = 12});
  const relpos::contiguous_cache<float> cache{latent_memory(own.memory.keys.view(), 8),
                                              own.lengths};
  const auto keys = support::random_tensor({2, 2, 5, 12}, 1);
  const relpos::status done = relpos::append(relpos::serial{}, cache, keys.view());
  ASSERT_TRUE(done) << done.message;
  EXPECT_EQ(own.lengths, (std::vector<index_t>{5, 5}));
  EXPECT_EQ(own.memory.keys.values, keys.values);
  EXPECT_EQ(cache.value_dim(), 8);
  EXPECT_EQ(cache.memory.values(1, 1, 4, 7), keys(1, 1, 4, 7));
}

TEST(latent, all_channels_of_the_keys_may_be_values) {
  own_contiguous<float> own({.batch = 1, .key_heads = 1, .rows = 2, .head_dim = 6, .value_dim = 6});
  const relpos::contiguous_cache<float> cache{latent_memory(own.memory.keys.view(), 6),
                                              own.lengths};
  EXPECT_TRUE(
      relpos::append(relpos::serial{}, cache, support::random_tensor({1, 1, 2, 6}, 1).view()));
}

TEST(latent, values_of_no_channels_may_be_given_or_not) {
  own_contiguous<float> own({.batch = 1, .key_heads = 1, .rows = 2, .head_dim = 6, .value_dim = 0});
  const auto k = support::random_tensor({1, 1, 1, 6}, 1);
  const tensor<float> none({1, 1, 1, 0});
  const relpos::contiguous_cache<float> cache{latent_memory(own.memory.keys.view(), 0),
                                              own.lengths};
  EXPECT_TRUE(relpos::append(relpos::serial{}, cache, k.view(), none.view()));
  EXPECT_TRUE(relpos::append(relpos::serial{}, own.cache(), k.view()));
}

TEST(latent, caches_of_no_sequences) {
  own_contiguous<float> own({.batch = 0, .key_heads = 2, .rows = 4, .head_dim = 6, .value_dim = 6});
  const tensor<float> none({0, 2, 1, 6});
  EXPECT_TRUE(relpos::append(relpos::serial{}, own.cache(), none.view(), none.view()));
  const relpos::contiguous_cache<float> cache{latent_memory(own.memory.keys.view(), 6),
                                              own.lengths};
  EXPECT_TRUE(relpos::append(relpos::serial{}, cache, none.view()));
}

template <class Stored>
struct refused_appends {
  own_contiguous<Stored> own{
      {.batch = 1, .key_heads = 1, .rows = 4, .head_dim = 6, .value_dim = 6}};
  tensor<float> k = support::random_tensor({1, 1, 1, 6}, 1);
  tensor<float> v = support::random_tensor({1, 1, 1, 4}, 2);

  relpos::contiguous_cache<Stored> cache(const relpos::cache_memory<Stored>& memory) {
    return {memory, own.lengths};
  }
  template <class... Arguments>
  void expect(const relpos::cache_memory<Stored>& memory, status_code code,
              std::initializer_list<std::string> words, const Arguments&... rows) {
    const auto before = own.memory;
    support::expect_refusal(relpos::append(relpos::serial{}, cache(memory), rows...), code, words);
    EXPECT_TRUE(before == own.memory);
    EXPECT_EQ(own.lengths, std::vector<index_t>{0});
  }
};

TEST(latent, values_given_or_missing) {
  refused_appends<float> of;
  const auto keys = of.own.memory.keys.view();
  of.expect(latent_memory(keys, 4), status_code::invalid_value,
            {"v: is given", "first 4 channels", "append k alone", "v is [1, 1, 1, 4]"}, of.k.view(),
            of.v.view());
  of.expect(of.own.memory.memory(), status_code::invalid_shape,
            {"v: must be given", "cache.values [1, 1, 4, 6]", "cache.keys [1, 1, 4, 6]"},
            of.k.view());
  // Channels [2, 6) of the keys: neither apart from them nor their first.
  const relpos::cache_memory<float> last{keys, keys.slice(3, 2, 4)};
  of.expect(last, status_code::invalid_shape, {"v: must be given"}, of.k.view());
  of.expect(last, status_code::overlap, {"cache.keys [1, 1, 4, 6] overlaps cache.values"},
            of.k.view(), of.v.view());
  // Every second row of the keys, from the first on.
  relpos::cache_memory<float> rows = latent_memory(keys, 4);
  rows.values.strides[2] = 12;
  rows.keys.shape[2] = rows.values.shape[2] = 2;
  of.expect(rows, status_code::invalid_shape, {"v: must be given"}, of.k.view());
}

TEST(latent, memory_that_cannot_be) {
  refused_appends<float> of;
  const auto keys = of.own.memory.keys.view();
  of.expect(latent_memory(keys, 7), status_code::invalid_shape,
            {"cache.values: begin where cache.keys do", "[1, 1, 4, 7]", "[1, 1, 4, 6]"},
            of.k.view());
  of.expect(latent_memory(keys, -1), status_code::invalid_shape,
            {"cache.values: shape is [1, 1, 4, -1]"}, of.k.view());
  of.expect(latent_memory(keys, 4), status_code::invalid_shape, {"k: heads and head_dim"},
            of.v.view());
  of.expect(latent_memory(keys, 4), status_code::overlap, {"cache.keys", "overlaps k"},
            keys.slice(2, 3, 1));

  refused_appends<relpos::int8> scaled;
  const relpos::cache_memory<relpos::int8> memory = scaled.own.memory.memory();
  scaled.expect(latent_memory(memory.keys, 4), status_code::invalid_shape, {"cache.key_scales"},
                scaled.k.view());
  relpos::cache_memory<relpos::int8> of_their_own =
      latent_memory(memory.keys, 4, memory.key_scales);
  of_their_own.value_scales = memory.value_scales;
  scaled.expect(of_their_own, status_code::invalid_shape,
                {"cache.value_scales: must be cache.key_scales"}, scaled.k.view());
}

TEST(latent, more_than_1024_channels) {
  own_contiguous<float> own(
      {.batch = 1, .key_heads = 1, .rows = 1, .head_dim = 1025, .value_dim = 1});
  const relpos::contiguous_cache<float> cache{latent_memory(own.memory.keys.view(), 512),
                                              own.lengths};
  support::expect_refusal(
      relpos::append(relpos::serial{}, cache, support::random_tensor({1, 1, 1, 1025}, 1).view()),
      status_code::invalid_shape, {"1024 channels", "[1, 1, 1, 1025]", "[1, 1, 1, 512]"});
}

/// 12 channels of which the first 8 are also the values and the last 4 rotate, in a cache that
/// `own` makes, appended in two parts.
template <class Own>
void expect_rotated_behind_the_values(Own own, relpos::pair_layout layout) {
  constexpr index_t length = 600;
  const relpos::rotary_table rope(relpos::rope_frequencies(4), layout);
  const relpos::rotary rotation{rope, 8};
  const auto keys = support::random_tensor({1, 1, length, 12}, 21);
  const auto memory = latent_memory(own.memory.keys.view(), 8);
  for (const index_t first : {index_t{0}, index_t{250}}) {
    const index_t last = first == 0 ? 250 : length;
    own.make_room(0, last);
    auto cache = own.cache();
    cache.memory = memory;
    const relpos::status done = relpos::append(relpos::serial{}, cache,
                                               keys.view().slice(2, first, last - first), rotation);
    ASSERT_TRUE(done) << done.message;
  }
  auto cache = own.cache();
  cache.memory = memory;
  support::inputs<float> in{tensor<float>(), keys, tensor<float>({1, 1, length, 8})};
  for (index_t row = 0; row < length; ++row) {
    for (index_t c = 0; c < 8; ++c) in.v(0, 0, row, c) = keys(0, 0, row, c);
  }
  const support::meaning means{
      .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
      .rotation =
          support::rotary_meaning{.rotary_dim = 4,
                                  .interleaved = layout == relpos::pair_layout::interleaved,
                                  .theta = [](index_t pair) { return pair == 0 ? 1.0 : 0.01; },
                                  .first_channel = 8}};
  for (const index_t queries : {1, 40}) {
    SCOPED_TRACE(queries);
    in.q = support::random_tensor({1, 4, queries, 12}, 22);
    tensor<float> out({1, 4, queries, 8});
    std::vector<std::byte> workspace(
        relpos::workspace_bytes(relpos::serial{}, in.q.view(), cache, rotation, relpos::causal{}));
    const relpos::status done = relpos::attention(relpos::serial{}, workspace, out.view(),
                                                  in.q.view(), cache, rotation, relpos::causal{});
    ASSERT_TRUE(done) << done.message;
    const std::vector<double> wanted = support::naive_attention<double>(in, means).out;
    const std::vector<float> yardstick = support::naive_attention<float>(in, means).out;
    support::expect_close(out.values, wanted, support::float_tolerance(wanted, yardstick), "out");
  }
}

TEST(latent, rotates_behind_the_values) {
  const cache_sizes sizes{.batch = 1, .key_heads = 1, .rows = 600, .head_dim = 12, .value_dim = 8};
  for (const auto layout : {relpos::pair_layout::interleaved, relpos::pair_layout::half_split}) {
    expect_rotated_behind_the_values(own_contiguous<float>(sizes), layout);
    expect_rotated_behind_the_values(own_paged<float>(sizes, 16, 40), layout);
    expect_rotated_behind_the_values(own_ring<float>(sizes, 2), layout);
  }
}

/// A rotation that reaches channels which are also the values.
TEST(latent, a_rotation_of_values_is_refused) {
  refused_appends<float> of;
  const relpos::cache_memory<float> memory = latent_memory(of.own.memory.keys.view(), 4);
  const relpos::rotary_table rope(relpos::rope_frequencies(2), relpos::pair_layout::interleaved);
  const std::initializer_list<std::string> words{"rotation: ", "channels from 3 on",
                                                 "keys [1, 1, 4, 6]", "first 4 are also the values",
                                                 "rotary{table, first_channel}"};
  const relpos::rotary of_a_value{rope, 3};
  of.expect(memory, status_code::invalid_value, words, of.k.view(), of_a_value);

  tensor<float> out({1, 1, 1, 4}, 5.0f);
  const tensor<float> before = out;
  std::vector<std::byte> workspace(1 << 16);
  support::expect_refusal(relpos::attention(relpos::serial{}, workspace, out.view(), of.k.view(),
                                            of.cache(memory), of_a_value),
                          status_code::invalid_value, words);
  EXPECT_TRUE(same_bits(out, before));
  EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, of.k.view(), of.cache(memory), of_a_value),
            0u);
}

TEST(latent, outputs_are_not_written_over_it) {
  refused_appends<float> of;
  const auto keys = of.own.memory.keys.view();
  std::vector<std::byte> workspace(1 << 16);
  support::expect_refusal(
      relpos::attention(relpos::serial{}, workspace, keys.slice(2, 3, 1).slice(3, 0, 4),
                        of.k.view(), of.cache(latent_memory(keys, 4))),
      status_code::overlap, {"out: ", "cache.keys [1, 1, 4, 6]"});
}

}  // namespace
