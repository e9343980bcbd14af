// One block table and one pool for the caches of many layers: what fork, copy-on-write and truncate
// do to one layer they do to all, whatever each stores.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "kv_cache/caches.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;
using relpos::page_layer;
using relpos::paged_cache;
using support::cache_sizes;
using support::slabs;

constexpr index_t page_rows = 4;
constexpr index_t blocks = 8;
constexpr index_t sequences = 4;
constexpr index_t pages = 24;
constexpr index_t channels = 8;

/// A layer's memory and its lengths.
template <class Stored>
struct own_layer {
  slabs<Stored> memory{pages, page_rows, cache_sizes{.head_dim = channels, .value_dim = channels}};
  std::vector<index_t> lengths = std::vector<index_t>(sequences, 0);

  paged_cache<Stored> cache(const relpos::view<std::int32_t, 2>& table) {
    return {memory.memory(), lengths, {table}};
  }
};

/// Each row of a cache has one number in all of its channels, so that any storage holds it: 0 to
/// 127.
using rows_of_sequence = std::vector<int>;

class model {
 public:
  explicit model(index_t layers)
      : floats(static_cast<std::size_t>(layers)),
        rows(static_cast<std::size_t>(layers), std::vector<rows_of_sequence>(sequences)) {}

  relpos::view<std::int32_t, 2> table() { return {table_.data(), {sequences, blocks}}; }
  std::vector<paged_cache<float>> caches() {
    std::vector<paged_cache<float>> result;
    result.reserve(floats.size());
    for (auto& each : floats) result.push_back(each.cache(table()));
    return result;
  }

  const std::vector<std::int32_t>& entries() const { return table_; }

  std::vector<own_layer<float>> floats;
  std::vector<std::vector<rows_of_sequence>> rows;  // that each layer must have
  relpos::page_pool pool{pages};

 private:
  std::vector<std::int32_t> table_ = std::vector<std::int32_t>(sequences * blocks, -1);
};

/// Appends `count` rows to one sequence of a layer, and to what it must have.
template <class Stored>
void append(const paged_cache<Stored>& cache, index_t sequence, index_t count,
            std::vector<rows_of_sequence>& rows, support::random_numbers& random) {
  support::tensor<float> k({1, 1, count, channels});
  for (index_t row = 0; row < count; ++row) {
    const auto number = static_cast<int>(random.between(1, 127));
    rows[static_cast<std::size_t>(sequence)].push_back(number);
    for (index_t c = 0; c < channels; ++c) k.view()(0, 0, row, c) = static_cast<float>(number);
  }
  std::vector<index_t> starts(sequences + 1, 0);
  std::fill(starts.begin() + sequence + 1, starts.end(), count);
  const relpos::status done = relpos::append(relpos::serial{}, cache, k.view(), k.view(),
                                             relpos::options{.key_starts = starts});
  ASSERT_TRUE(done) << done.message;
}

/// The block table finds the rows that a layer must have.
template <class Stored>
void expect_rows(const paged_cache<Stored>& cache, const std::vector<rows_of_sequence>& rows) {
  for (index_t sequence = 0; sequence < sequences; ++sequence) {
    const rows_of_sequence& wanted = rows[static_cast<std::size_t>(sequence)];
    ASSERT_EQ(cache.length(sequence), static_cast<index_t>(wanted.size()));
    for (index_t row = 0; row < cache.length(sequence); ++row) {
      const index_t page = cache.placement.block_table(sequence, row / page_rows);
      const auto read = [&](const relpos::view<Stored, 4>& of,
                            const relpos::view<float, 3>& scales) {
        const float scale = scales.data == nullptr ? 1.0f : scales(page, 0, row % page_rows);
        return scale * static_cast<float>(of(page, 0, row % page_rows, channels - 1));
      };
      const auto number = static_cast<float>(wanted[static_cast<std::size_t>(row)]);
      const auto& memory = cache.memory;
      ASSERT_NEAR(read(memory.keys, memory.key_scales), number, 1e-4f)
          << "row " << row << " of sequence " << sequence;
      ASSERT_NEAR(read(memory.values, memory.value_scales), number, 1e-4f);
    }
  }
}

// Forks of forks, rows behind them, truncations behind those, in any order.
TEST(page_layers, are_what_each_would_be_alone) {
  for (const index_t count : {1, 3, 40}) {
    SCOPED_TRACE(std::to_string(count) + " layers");
    model of(count);
    support::random_numbers random(7);
    int forks = 0;
    for (int step = 0; step < 300; ++step) {
      const auto layers = of.caches();
      const index_t sequence = random.between(0, sequences - 1);
      const index_t length = layers[0].length(sequence);
      const index_t other = random.between(0, sequences - 1);
      if (step % 3 == 0 && length > 0 && other != sequence) {
        ASSERT_TRUE(of.pool.truncate(layers, other, 0));
        const relpos::status done = of.pool.fork(layers, sequence, other);
        ASSERT_TRUE(done) << done.message;
        ++forks;
        for (auto& rows : of.rows) {
          rows[static_cast<std::size_t>(other)] = rows[static_cast<std::size_t>(sequence)];
        }
      } else if (step % 3 == 1) {
        const index_t kept = random.between(0, length);
        ASSERT_TRUE(of.pool.truncate(layers, sequence, kept));
        for (auto& rows : of.rows) {
          rows[static_cast<std::size_t>(sequence)].resize(static_cast<std::size_t>(kept));
        }
      } else {
        const index_t added = random.between(1, 5);
        const relpos::status done = of.pool.reserve(layers, sequence, length + added);
        if (length + added > blocks * page_rows) {
          ASSERT_FALSE(done);
          continue;
        }
        if (!done) {  // no page is free
          ASSERT_NE(std::string(done.message).find("pages are needed"), std::string::npos);
          continue;
        }
        for (std::size_t i = 0; i < layers.size(); ++i) {
          append(layers[i], sequence, added, of.rows[i], random);
        }
      }
      for (std::size_t i = 0; i < layers.size(); ++i) expect_rows(layers[i], of.rows[i]);
      if (HasFatalFailure()) return;
    }
    EXPECT_GT(forks, 20);
  }
}

TEST(page_layers, store_as_they_like) {
  model of(0);
  own_layer<float> first;
  own_layer<relpos::bfloat16> second;
  own_layer<relpos::int8> third;
  const std::vector<page_layer> layers{first.cache(of.table()), second.cache(of.table()),
                                       third.cache(of.table())};
  std::vector<std::vector<rows_of_sequence>> rows(3, std::vector<rows_of_sequence>(sequences));
  support::random_numbers random(9);
  const auto append_all = [&](index_t sequence, index_t count) {
    ASSERT_TRUE(of.pool.reserve(layers, sequence,
                                first.lengths[static_cast<std::size_t>(sequence)] + count));
    append(first.cache(of.table()), sequence, count, rows[0], random);
    append(second.cache(of.table()), sequence, count, rows[1], random);
    append(third.cache(of.table()), sequence, count, rows[2], random);
  };
  append_all(0, 6);
  ASSERT_TRUE(of.pool.fork(layers, 0, 1));
  ASSERT_TRUE(of.pool.fork(layers, 1, 2));
  for (auto& each : rows) each[1] = each[2] = each[0];
  for (const index_t sequence : {0, 1, 2}) append_all(sequence, 3);
  ASSERT_TRUE(of.pool.truncate(layers, 1, 5));
  for (auto& each : rows) each[1].resize(5);
  append_all(1, 2);
  expect_rows(first.cache(of.table()), rows[0]);
  expect_rows(second.cache(of.table()), rows[1]);
  expect_rows(third.cache(of.table()), rows[2]);
}

/// Two layers of ones; a fork, and both sequences go on: attention gives 1 whatever the weights.
TEST(page_layers, give_the_mean_of_their_own_values) {
  model of(2);
  const auto layers = of.caches();
  support::tensor<float> ones({sequences, 1, 7, channels});
  std::fill(ones.values.begin(), ones.values.end(), 1.0f);
  const std::vector<index_t> first{0, 6, 6, 6, 6};
  ASSERT_TRUE(of.pool.reserve(layers, 0, 6));
  for (const auto& layer : layers) {
    const auto rows = ones.view().slice(0, 0, 1).slice(2, 0, 6);
    ASSERT_TRUE(
        relpos::append(relpos::serial{}, layer, rows, rows, relpos::options{.key_starts = first}));
  }
  for (const index_t fork : {1, 2, 3}) ASSERT_TRUE(of.pool.fork(layers, 0, fork));
  for (index_t i = 0; i < sequences; ++i) ASSERT_TRUE(of.pool.reserve(layers, i, 7));
  const auto row = ones.view().slice(2, 0, 1);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    SCOPED_TRACE("layer " + std::to_string(i));
    ASSERT_TRUE(relpos::append(relpos::serial{}, layers[i], row, row));
    support::tensor<float> out({sequences, 1, 1, channels});
    std::vector<std::byte> workspace(relpos::workspace_bytes(relpos::serial{}, row, layers[i]));
    ASSERT_TRUE(relpos::attention(relpos::serial{}, workspace, out.view(), row, layers[i]));
    for (const float each : out.values) ASSERT_NEAR(each, 1.0f, 1e-6f);
  }
}

/// Pages of all layers in one buffer, [page, row, layer, keys or values, channel]: ranges of bytes
/// overlap, elements do not.
TEST(page_layers, may_be_woven_together) {
  constexpr index_t count = 3;
  model of(count);
  constexpr index_t layer_step = 2 * channels;
  constexpr index_t row_step = count * layer_step;
  std::vector<float> buffer(static_cast<std::size_t>(pages * page_rows * row_step));
  auto layers = of.caches();
  for (index_t i = 0; i < count; ++i) {
    auto& memory = layers[static_cast<std::size_t>(i)].memory;
    const std::array<index_t, 4> steps{page_rows * row_step, channels, row_step, 1};
    memory.keys = {buffer.data() + i * layer_step, memory.keys.shape, steps};
    memory.values = {buffer.data() + i * layer_step + channels, memory.values.shape, steps};
  }
  support::random_numbers random(5);
  const auto append_all = [&](index_t sequence, index_t added) {
    const relpos::status done =
        of.pool.reserve(layers, sequence, layers[0].length(sequence) + added);
    ASSERT_TRUE(done) << done.message;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      append(layers[i], sequence, added, of.rows[i], random);
    }
  };
  append_all(0, 6);
  ASSERT_TRUE(of.pool.fork(layers, 0, 1));
  for (auto& rows : of.rows) rows[1] = rows[0];
  append_all(1, 3);
  append_all(0, 1);
  for (std::size_t i = 0; i < layers.size(); ++i) expect_rows(layers[i], of.rows[i]);
}

/// Refused with these words, and nothing has changed: lengths, pages, table and memory.
template <class Layers, class Call>
void expect_refused(model& of, const Layers& layers, const std::string& words, const Call& call) {
  const auto uses = [&] {
    std::vector<index_t> result;
    result.reserve(static_cast<std::size_t>(pages));
    for (std::int32_t page = 0; page < pages; ++page) result.push_back(of.pool.uses(page));
    return result;
  };
  const index_t free = of.pool.free_pages();
  const auto uses_before = uses();
  const auto table = of.entries();
  std::vector<own_layer<float>> before = of.floats;
  const relpos::status done = call(of.pool, layers);
  EXPECT_FALSE(done);
  EXPECT_NE(std::string(done.message).find(words), std::string::npos) << done.message;
  EXPECT_EQ(of.pool.free_pages(), free);
  EXPECT_EQ(uses(), uses_before);
  EXPECT_EQ(of.entries(), table);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(of.floats[i].lengths, before[i].lengths);
    EXPECT_TRUE(of.floats[i].memory == before[i].memory);
  }
}

template <class Layers>
void expect_all_refused(model& of, const Layers& layers, const std::string& words) {
  expect_refused(of, layers, words,
                 [](auto& pool, const auto& all) { return pool.reserve(all, 0, 9); });
  expect_refused(of, layers, words,
                 [](auto& pool, const auto& all) { return pool.fork(all, 0, 3); });
  expect_refused(of, layers, words,
                 [](auto& pool, const auto& all) { return pool.truncate(all, 0, 0); });
}

/// Three layers whose sequence 0 has 6 rows, and whose sequence 1 shares them.
class page_layers_refused : public testing::Test {
 protected:
  void SetUp() override {
    const auto all = of.caches();
    ASSERT_TRUE(of.pool.reserve(all, 0, 6));
    for (std::size_t i = 0; i < all.size(); ++i) append(all[i], 0, 6, of.rows[i], random);
    ASSERT_TRUE(of.pool.fork(all, 0, 1));
    layers = all;
  }

  model of{3};
  support::random_numbers random{3};
  std::vector<paged_cache<float>> layers;
};

TEST_F(page_layers_refused, if_they_are_not_all) {
  const std::string all_layers = "every call takes the caches of all layers";
  expect_all_refused(of, std::vector<paged_cache<float>>(), "layers: is empty");
  expect_all_refused(of, layers[1], "layers: are 1, pages are in use by 3: " + all_layers);
  own_layer<float> more;
  auto four = layers;
  four.push_back(more.cache(of.table()));
  four[3].lengths[0] = four[3].lengths[1] = 6;
  expect_all_refused(of, four, "layers: are 4, pages are in use by 3: " + all_layers);
  auto swapped = layers;
  std::swap(swapped[1].memory, swapped[2].memory);
  expect_all_refused(of, swapped,
                     "layers: layer 1 is not one whose pages are in use (" + all_layers);
  auto other_values = layers;
  other_values[2].memory.values = more.cache(of.table()).memory.values;
  expect_all_refused(of, other_values, "layers: layer 2 is not one whose pages are in use");
  // The first element is the same, the rest of a row would not be copied.
  auto narrow = layers;
  for (auto& each : narrow) {
    each.memory.keys = each.memory.keys.slice(3, 0, channels / 2);
    each.memory.values = each.memory.values.slice(3, 0, channels / 2);
  }
  expect_all_refused(of, narrow, "keys are [24, 1, 4, 4], not [24, 1, 4, 8]");
}

TEST_F(page_layers_refused, if_one_writes_what_another_holds) {
  auto same_pages = layers;
  same_pages[2].memory = same_pages[0].memory;
  expect_all_refused(of, same_pages,
                     "cache.keys of layer 0 [24, 1, 4, 8] and cache.keys of layer 2");
  auto same_values = layers;
  same_values[1].memory.values = same_values[0].memory.values;
  expect_all_refused(of, same_values,
                     "cache.values of layer 0 [24, 1, 4, 8] and cache.values of layer 1");
  auto crossed = layers;
  crossed[1].memory.values = crossed[0].memory.keys;
  expect_all_refused(of, crossed,
                     "cache.keys of layer 0 [24, 1, 4, 8] and cache.values of layer 1");
  auto behind = layers;  // the first page is apart, the others are not
  behind[1].memory.keys.data = behind[0].memory.keys.data + page_rows * channels;
  expect_all_refused(of, behind, "cache.keys of layer 0 [24, 1, 4, 8] and cache.keys of layer 1");
  auto one_count = layers;
  one_count[2].lengths = one_count[1].lengths;
  expect_all_refused(of, one_count, "cache.lengths: layers 1 and 2 share them");
}

TEST_F(page_layers_refused, if_scales_are_shared) {
  relpos::page_pool pool(pages);
  own_layer<relpos::int8> first, second;
  std::vector<std::int32_t> table(sequences * blocks);
  std::vector<page_layer> two;
  auto scaled = second.cache({table.data(), {sequences, blocks}});
  scaled.memory.value_scales = first.memory.memory().value_scales;
  two.emplace_back(first.cache({table.data(), {sequences, blocks}}));
  two.emplace_back(scaled);
  const relpos::status done = pool.reserve(two, 0, 1);
  EXPECT_NE(std::string(done.message)
                .find("cache.value_scales of layer 0 [24, 1, 4] and "
                      "cache.value_scales of layer 1 [24, 1, 4]"),
            std::string::npos)
      << done.message;
}

TEST_F(page_layers_refused, if_they_differ_in_what_they_share) {
  std::vector<std::int32_t> other_table = of.entries();
  auto apart = layers;
  apart[1].placement.block_table = {other_table.data(), {sequences, blocks}};
  expect_all_refused(of, apart, "cache.block_table: layer 1 and layer 0 have different tables");
  auto shorter = layers;
  shorter[2].placement.block_table = of.table().slice(1, 0, blocks - 1);
  expect_all_refused(of, shorter, "all layers must share one: they are [4, 7] and [4, 8]");
  slabs<float> long_pages(pages, 2 * page_rows, {.head_dim = channels, .value_dim = channels});
  auto longer = layers;
  longer[2].memory = long_pages.memory();
  expect_all_refused(of, longer, "cache.keys: pages of layer 2 have 8 rows, of layer 0 4");
  slabs<float> few_pages(pages - 1, page_rows, {.head_dim = channels, .value_dim = channels});
  auto fewer = layers;
  fewer[1].memory = few_pages.memory();
  expect_all_refused(of, fewer, "page_pool: has 24 pages, cache.keys of layer 1 are [23, 1, 4, 8]");
  auto wrong = layers;
  wrong[2].memory.values.data = nullptr;
  expect_all_refused(of, wrong, "layer 2: cache.values: data is null");
  of.floats[1].lengths[0] = 5;
  expect_all_refused(of, layers,
                     "cache.lengths: sequence 0 has 5 rows in layer 1 and 6 in layer 0");
  of.floats[1].lengths[0] = 6;
  of.floats[2].lengths[3] = 1;
  expect_refused(of, layers, "cache.lengths: sequence 3 has 1 rows in layer 2 and 0 in layer 0",
                 [](auto& pool, const auto& all) { return pool.fork(all, 0, 3); });
}

TEST_F(page_layers_refused, as_one_would_be) {
  const auto refused = [&](const std::string& words, const auto& call) {
    expect_refused(of, layers, words, call);
  };
  refused("sequence: is 4", [](auto& pool, const auto& all) { return pool.reserve(all, 4, 1); });
  refused("sequence: is -1", [](auto& pool, const auto& all) { return pool.truncate(all, -1, 0); });
  refused("sequence: is 4", [](auto& pool, const auto& all) { return pool.fork(all, 0, 4); });
  refused("to: sequence 1 has rows",
          [](auto& pool, const auto& all) { return pool.fork(all, 0, 1); });
  refused("length: is 7, sequence 0 has 6 rows",
          [](auto& pool, const auto& all) { return pool.truncate(all, 0, 7); });
  refused("33 rows need 9 pages",
          [](auto& pool, const auto& all) { return pool.reserve(all, 0, 33); });
  // 22 pages are free; sequences 2 and 3 take 16 of them.
  ASSERT_TRUE(of.pool.reserve(layers, 2, 32));
  ASSERT_TRUE(of.pool.reserve(layers, 3, 32));
  refused("page_pool: 7 pages are needed, 6 are free",
          [](auto& pool, const auto& all) { return pool.reserve(all, 1, 32); });
}

// Lengths may move as the batch grows, and other layers are served when no page is in use.
TEST_F(page_layers_refused, no_longer_when_nothing_is_lost) {
  std::vector<std::vector<index_t>> moved;
  moved.reserve(of.floats.size());
  for (auto& each : of.floats) moved.push_back(each.lengths);
  auto grown = layers;
  for (std::size_t i = 0; i < grown.size(); ++i) grown[i].lengths = moved[i];
  EXPECT_TRUE(of.pool.reserve(grown, 0, 7));
  ASSERT_TRUE(of.pool.truncate(layers, 0, 3));
  ASSERT_TRUE(of.pool.truncate(layers, 0, 0));
  expect_refused(of, layers[1], "layers: are 1, pages are in use by 3",
                 [](auto& pool, const auto& all) { return pool.truncate(all, 1, 0); });
  ASSERT_TRUE(of.pool.truncate(layers, 1, 0));
  EXPECT_EQ(of.pool.free_pages(), pages);
  EXPECT_TRUE(of.pool.reserve(layers[1], 0, 1));
}

}  // namespace
