#include "relpos/policy/mask/selected_keys.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"
#include "policy/placed_tokens.hpp"
#include "relpos/policies.hpp"
#include "support/both_kernels.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using relpos::selected_keys;
using relpos::status_code;
using support::expect_both_kernels;
using support::inputs;

/// The lists of a call, [batch, head, query, entry], and what they select.
struct lists {
  support::tensor<std::int32_t> entries;
  index_t block;
  support::tensor<char> selected;  // [batch, head, query, position]

  lists(const support::tensor<std::int32_t>& of, index_t block_keys)
      : entries(of), block(block_keys), selected({of.shape[0], of.shape[1], of.shape[2], longest}) {
    for (index_t i = 0; i < static_cast<index_t>(of.values.size()); ++i) {
      const index_t entry = of.values[static_cast<std::size_t>(i)];
      if (entry < 0 || (entry + 1) * block > longest) continue;
      const auto list = selected.values.begin() + i / of.shape[3] * longest;
      std::fill(list + entry * block, list + (entry + 1) * block, char{1});
    }
  }

  selected_keys policy() const {
    return {relpos::view<const std::int32_t, 4>(entries.view()), block};
  }
  bool has(index_t batch, index_t key_head, index_t row, index_t position) const {
    return selected(batch, entries.shape[1] == 1 ? 0 : key_head, row, position) != 0;
  }

 private:
  static constexpr index_t longest = 4300;  // positions of all tests are below
};

/// Lists that are empty, full, of neighbours, and random.
lists random_lists(index_t batch, index_t heads, index_t queries, index_t first_key,
                   index_t last_key, index_t entries, index_t block, std::uint32_t seed) {
  support::tensor<std::int32_t> result({batch, heads, queries, entries}, -1);
  support::random_numbers random(seed);
  const index_t first = first_key / block;
  const index_t last = (last_key - 1) / block;
  for (index_t list = 0; list < batch * heads * queries; ++list) {
    std::vector<std::int32_t> chosen;
    const index_t most = std::min(entries, last - first + 1);
    const index_t count = list % 7 == 3 ? 0 : list % 7 == 5 ? most : random.between(1, most);
    const bool neighbours = list % 3 == 1;
    while (static_cast<index_t>(chosen.size()) < count) {
      const auto next = static_cast<std::int32_t>(
          neighbours ? last - static_cast<index_t>(chosen.size()) : random.between(first, last));
      if (std::find(chosen.begin(), chosen.end(), next) == chosen.end()) chosen.push_back(next);
    }
    std::sort(chosen.begin(), chosen.end());
    std::copy(chosen.begin(), chosen.end(), result.values.begin() + list * entries);
  }
  return {result, block};
}

inputs<float> sizes(index_t queries, index_t keys, index_t head_dim = 20, index_t value_dim = 12) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 6,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = head_dim,
                                 .value_dim = value_dim},
                                91);
}

/// `means` of a call whose queries see the keys of their lists and no others.
support::meaning with_lists(
    support::meaning means, const lists& of, index_t group,
    const std::function<double(index_t, index_t)>& also = [](index_t, index_t) { return 0.0; }) {
  const index_t key_offset = means.key_offset;
  means.element_bias = [&of, group, also, key_offset](index_t batch, index_t head, index_t query,
                                                      index_t key) {
    return of.has(batch, head / group, query, key + key_offset)
               ? also(query, key)
               : -std::numeric_limits<double>::infinity();
  };
  return means;
}

TEST(selected_keys, of_heads_and_blocks) {
  for (const index_t queries : {1, 3, 50}) {
    const inputs<float> in = sizes(queries, 300);
    for (const index_t heads : {1, 2}) {
      for (const index_t block : {1, 5, 64}) {
        SCOPED_TRACE(std::to_string(queries) + " queries, blocks of " + std::to_string(block));
        const lists of = random_lists(2, heads, queries, 0, 300, 40, block, 5);
        expect_both_kernels(in, {}, with_lists({}, of, 3), of.policy());
      }
    }
  }
}

TEST(selected_keys, beside_masks_and_biases) {
  const index_t queries = 50;
  const inputs<float> in = sizes(queries, 300);
  const lists of = random_lists(2, 2, queries, 0, 300, 90, 1, 6);
  const std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0625f, 0.03125f, 0.02f};
  const auto causal = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; };
  expect_both_kernels(
      in, {.softcap = 2.0f},
      with_lists({.bias =
                      [&](index_t head, index_t distance) {
                        return static_cast<double>(slopes[static_cast<std::size_t>(head)] *
                                                   static_cast<float>(distance));
                      },
                  .visible = causal,
                  .softcap = 2.0},
                 of, 3),
      of.policy(), relpos::alibi{slopes}, relpos::causal{});

  const auto curve = [](index_t head, index_t distance) {
    return std::cos(0.1 * static_cast<double>(distance)) / static_cast<double>(head + 1);
  };
  expect_both_kernels(in, {}, with_lists({.bias = curve}, of, 3), relpos::relative_bias{curve},
                      of.policy());

  const auto matrix = support::random_tensor({1, 1, queries, 300}, 8);
  const auto element = [&](index_t query, index_t key) {
    return static_cast<double>(matrix(0, 0, query, key));
  };
  const auto odd = [](index_t q_pos, index_t k_pos) { return (q_pos + k_pos) % 3 != 1; };
  struct odd_mask {
    bool keep(index_t q_pos, index_t k_pos) const { return (q_pos + k_pos) % 3 != 1; }
  };
  expect_both_kernels(in, {},
                      with_lists({.visible = [&](index_t, index_t q_pos,
                                                 index_t k_pos) { return odd(q_pos, k_pos); }},
                                 of, 3, element),
                      relpos::additive_bias{matrix.view()}, odd_mask{}, of.policy());
}

TEST(selected_keys, of_several_chunks) {
  // 64 channels: one row is scored while the values of the tile before are added.
  for (const index_t queries : {1, 2}) {
    const inputs<float> in = support::random_inputs({.batch = 1,
                                                     .query_heads = 2,
                                                     .key_heads = 2,
                                                     .query_length = queries,
                                                     .key_length = 2600,
                                                     .head_dim = 64,
                                                     .value_dim = 64},
                                                    17);
    for (const index_t block : {1, 64}) {
      const lists of = random_lists(1, 2, queries, 0, 2600, 2300 / block, block, 12);
      expect_both_kernels(in, {}, with_lists({}, of, 1), of.policy());
    }
  }
}

support::rotary_meaning rope(index_t channels) {
  return {.rotary_dim = channels, .theta = [channels](index_t pair) {
            return std::pow(10000.0,
                            -2.0 * static_cast<double>(pair) / static_cast<double>(channels));
          }};
}

TEST(selected_keys, rotated_across_blocks_of_positions) {
  const index_t offset = 3000;
  for (const index_t queries : {1, 12}) {
    const inputs<float> in = sizes(queries, 1200);
    const lists of = random_lists(2, 2, queries, offset, offset + 1200, 100, 1, 7);
    const relpos::rotary_table table(relpos::rope_frequencies(20), relpos::pair_layout::half_split);
    expect_both_kernels(in, {.key_offset = offset},
                        with_lists({.rotation = rope(20), .key_offset = offset}, of, 3),
                        relpos::rotary{table}, of.policy());
  }
}

TEST(selected_keys, with_positions_of_tokens) {
  const index_t queries = 20;
  const inputs<float> in = sizes(queries, 200);
  const lists of = random_lists(2, 1, queries, 0, 200, 60, 1, 3);
  std::vector<index_t> places(200);
  for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<index_t>(i * i % 977);
  const relpos::view<const index_t, 2> key_places(places.data(), {1, 200});
  const relpos::view<const index_t, 2> query_places(places.data() + 180, {1, queries});
  const relpos::rotary_table table(relpos::rope_frequencies(20), relpos::pair_layout::half_split);
  expect_both_kernels(
      in, {},
      with_lists(
          {.rotation = rope(20),
           .query_position = [&](index_t, index_t row,
                                 index_t) { return places[static_cast<std::size_t>(row + 180)]; },
           .key_position = [&](index_t, index_t row,
                               index_t) { return places[static_cast<std::size_t>(row)]; }},
          of, 3),
      relpos::rotary{table}, relpos::token_positions{query_places, key_places}, of.policy());
}

/// The lists as a mask of elements, for one row.
struct listed_mask {
  const lists* of;
  index_t query_offset;
  struct of_entry {
    const lists* of;
    index_t batch, key_head, query_offset;
    bool keep(index_t q_pos, index_t k_pos) const {
      return of->has(batch, key_head, q_pos - query_offset, k_pos);
    }
  };
  of_entry bind(index_t batch, index_t head) const { return {of, batch, head / 3, query_offset}; }
};

template <class Own>
void expect_cache(Own own, index_t rows) {
  const index_t queries = 2;
  const inputs<float> in = sizes(queries, rows, 32, 16);
  const relpos::rotary_table table(relpos::rope_frequencies(32), relpos::pair_layout::half_split);
  const relpos::rotary rope{table};
  for (index_t first = 0; first < rows; first += 100) {
    append_rows(own, in, first, std::min(first + 100, rows), rope);
  }
  const lists of = random_lists(2, 2, queries, 0, rows, 200, 1, 31);
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    const relpos::options opts{.kernel = kernel};
    const auto got =
        support::attend_cache(own.cache(), in.q.view(), opts, rope, relpos::causal{}, of.policy());
    const auto expected = support::attend_cache(own.cache(), in.q.view(), opts, rope,
                                                relpos::causal{}, listed_mask{&of, rows - queries});
    const auto exact = [](const std::vector<float>& values) {
      return std::vector<double>(values.begin(), values.end());
    };
    support::expect_close(got.out.values, exact(expected.out.values), 2e-6, "out");
    support::expect_close(got.lse.values, exact(expected.lse.values), 2e-6, "lse");
  }
}

TEST(selected_keys, in_caches) {
  const support::cache_sizes all{
      .batch = 2, .key_heads = 2, .rows = 1300, .head_dim = 32, .value_dim = 16};
  expect_cache(support::own_contiguous<float>(all), 1300);
  expect_cache(support::own_contiguous<relpos::int8>(all), 1300);
  expect_cache(support::own_paged<relpos::bfloat16>(all, 16), 1300);
  support::cache_sizes some = all;
  some.rows = 400;
  expect_cache(support::own_ring<relpos::half>(some, 20), 1300);
}

/// A list of all keys changes no bit.
TEST(selected_keys, all_of_them) {
  const inputs<float> in = sizes(3, 1500, 64, 64);
  support::tensor<std::int32_t> entries({2, 1, 3, 1500});
  for (std::size_t i = 0; i < entries.values.size(); ++i) {
    entries.values[i] = static_cast<std::int32_t>(i % 1500);
  }
  const lists of(entries, 1);
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    const auto all = attend(in, {.kernel = kernel}, relpos::causal{});
    const auto listed = attend(in, {.kernel = kernel}, relpos::causal{}, of.policy());
    EXPECT_EQ(all.out.values, listed.out.values);
    EXPECT_EQ(all.lse.values, listed.lse.values);
  }
}

/// Neither NaN nor infinity of keys that no list has reaches a row.
TEST(selected_keys, others_are_not_read) {
  inputs<float> in = sizes(4, 300);
  support::tensor<std::int32_t> entries({2, 1, 4, 30});
  for (std::size_t i = 0; i < entries.values.size(); ++i) {
    entries.values[i] = static_cast<std::int32_t>(i % 30 * 10);
  }
  const lists of(entries, 1);
  inputs<float> spoilt = in;
  for (index_t key = 0; key < 300; ++key) {
    if (key % 10 == 0) continue;
    for (index_t head = 0; head < 4; ++head) {
      spoilt.k(head / 2, head % 2, key, 1) = std::numeric_limits<float>::quiet_NaN();
      spoilt.v(head / 2, head % 2, key, 2) = std::numeric_limits<float>::infinity();
    }
  }
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    EXPECT_EQ(attend(in, {.kernel = kernel}, of.policy()).out.values,
              attend(spoilt, {.kernel = kernel}, of.policy()).out.values);
  }
}

/// The lists of a call over all keys, given to calls over slices of them.
TEST(selected_keys, of_slices) {
  const index_t queries = 5;
  const inputs<float> in = sizes(queries, 300);
  const lists of = random_lists(2, 2, queries, 0, 300, 80, 1, 44);
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    support::attended<float> got;
    got.out = support::tensor<float>({2, 6, queries, 12});
    got.lse = support::tensor<float, 3>({2, 6, queries}, -std::numeric_limits<float>::infinity());
    const relpos::partial_state whole{got.out.view(), got.lse.view()};
    for (const index_t first : {0, 90, 200}) {
      const index_t count = (first == 0 ? 90 : first == 90 ? 200 : 300) - first;
      support::tensor<float> out({2, 6, queries, 12});
      support::tensor<float, 3> lse({2, 6, queries});
      const relpos::partial_state part{out.view(), lse.view()};
      const relpos::options opts{
          .query_offset = 300 - queries, .key_offset = first, .kernel = kernel};
      std::vector<std::byte> memory(1 << 22);
      ASSERT_TRUE(relpos::partial(relpos::serial{}, memory, part, in.q.view(),
                                  in.k.view().slice(2, first, count),
                                  in.v.view().slice(2, first, count), of.policy(), opts));
      ASSERT_TRUE(relpos::merge(relpos::serial{}, whole, part));
    }
    expect_means(got, in, with_lists({}, of, 3));
  }
}

TEST(selected_keys, refused) {
  const inputs<float> in = sizes(3, 300);
  const auto refuses = [&](const lists& of, status_code code, const char* text) {
    support::tensor<float> out({2, 6, 3, 12}, 7.0f);
    std::vector<std::byte> memory(1 << 22);
    const relpos::status done = relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(),
                                                  in.k.view(), in.v.view(), of.policy());
    EXPECT_EQ(done.code, code);
    EXPECT_NE(std::string(done.message).find(text), std::string::npos) << done.message;
    EXPECT_TRUE(
        std::all_of(out.values.begin(), out.values.end(), [](float x) { return x == 7.0f; }));
    EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(), in.v.view(),
                                      of.policy()),
              0u);
  };
  const auto of_one = [](const std::vector<std::int32_t>& entries, index_t block) {
    const auto size = static_cast<index_t>(entries.size());
    support::tensor<std::int32_t> all({2, 1, 3, size}, -1);
    std::copy(entries.begin(), entries.end(), all.values.end() - size);
    return lists(all, block);
  };
  const auto value = status_code::invalid_value;
  refuses(of_one({4, 3}, 1), value, "has 3 at [1, 0, 2, 1], which must be larger");
  refuses(of_one({4, 4}, 1), value, "has 4 at [1, 0, 2, 1], which must be larger");
  refuses(of_one({-2, 4}, 1), value, "has -2 at [1, 0, 2, 0], which must be at least 0");
  refuses(of_one({-1, 4}, 1), value, "has 4 at [1, 0, 2, 1], which is behind a -1");
  refuses(of_one({1}, 0), value, "block_keys is 0, must be from 1");
  refuses(lists(support::tensor<std::int32_t>({2, 3, 3, 1}), 1), status_code::invalid_shape,
          "list is [2, 3, 3, 1], must be [batch, key heads or 1, query, entry] = [2, 2 or 1, 3");
  refuses(lists(support::tensor<std::int32_t>({2, 2, 4, 1}), 1), status_code::invalid_shape,
          "list is [2, 2, 4, 1]");
}

/// -1 is no position, not even the one that has its bits.
TEST(selected_keys, the_end_of_a_list_selects_nothing) {
  const index_t offset = (index_t{1} << 32) - 10;
  const inputs<float> in = sizes(3, 20);
  const lists of(support::tensor<std::int32_t>({2, 1, 3, 4}, -1), 1);
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    const auto got = attend(in, {.key_offset = offset, .kernel = kernel}, of.policy());
    for (const float value : got.out.values) EXPECT_EQ(value, 0.0f);
  }
}

TEST(selected_keys, lists_without_entries_see_nothing) {
  const inputs<float> in = sizes(3, 30);
  const lists of(support::tensor<std::int32_t>({2, 1, 3, 0}), 1);
  expect_both_kernels(in, {}, with_lists({}, of, 3), of.policy());
}

}  // namespace
