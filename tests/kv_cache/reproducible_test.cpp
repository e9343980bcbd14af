// The bits of a row of a cache depend on its own query, keys and positions alone: not on where rows
// lie, on how many came at once, on the sequences beside it, or on who runs the work.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/executors.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;
using support::own_contiguous;
using support::own_paged;
using support::own_ring;

constexpr index_t rows = 700;
// Keys of whole vectors are read where they lie, values of 11 channels are copied.
constexpr support::cache_sizes room{
    .batch = 1, .key_heads = 1, .rows = rows, .head_dim = 32, .value_dim = 11};
const std::vector<float> slopes{0.3f, 0.004f};
const relpos::rotary_table xpos(relpos::xpos_frequencies(24), relpos::pair_layout::interleaved);
const relpos::band window{150, 0};

constexpr relpos::options of_prefill{.kernel = relpos::kernel_class::prefill};
constexpr relpos::options of_decode{.kernel = relpos::kernel_class::decode};

inputs<float> sequence_inputs(std::uint32_t seed = 13, index_t length = rows) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = length,
                                 .key_length = length,
                                 .head_dim = 32,
                                 .value_dim = 11},
                                seed);
}

template <class Own, class... Policies>
void expect_chunks(Own to, const attended<float>& whole, index_t chunk, const char* what,
                   const Policies&... policies) {
  SCOPED_TRACE(testing::Message() << what << ", chunks of " << chunk);
  const inputs<float> in = sequence_inputs();
  for (index_t first = 0; first < rows; first += chunk) {
    const index_t last = std::min(first + chunk, rows);
    support::append_rows(to, in, first, last, policies...);
    support::expect_same_rows(
        support::attend_cache(to.cache(), in.q.view().slice(2, first, last - first), of_prefill,
                              policies...),
        whole, first);
    if (testing::Test::HasFatalFailure()) return;
  }
}

template <class RingRows, class... Policies>
void expect_dense_bits(RingRows ring_rows, const Policies&... policies) {
  const attended<float> whole = support::attend(sequence_inputs(), of_prefill, policies...);
  for (const index_t chunk : {128, 384, 77, 1}) {
    expect_chunks(own_contiguous<float>(room), whole, chunk, "contiguous", policies...);
    auto of_ring = room;
    of_ring.rows = ring_rows(chunk);
    expect_chunks(own_ring<float>(of_ring), whole, chunk, "ring", policies...);
    for (const index_t page_rows : {1, 7, 16, 64, 200}) {
      SCOPED_TRACE(page_rows);
      expect_chunks(own_paged<float>(room, page_rows), whole, chunk, "pages", policies...);
    }
  }
}

index_t all_rows(index_t) { return rows; }

TEST(cache_reproducible, a_linear_bias_has_the_bits_of_a_dense_call) {
  expect_dense_bits(all_rows, relpos::alibi{slopes}, relpos::causal{});
}
TEST(cache_reproducible, a_rotation_has_the_bits_of_a_dense_call) {
  expect_dense_bits(all_rows, relpos::rotary{xpos}, relpos::causal{});
}
TEST(cache_reproducible, a_window_has_the_bits_of_a_dense_call) {
  expect_dense_bits([](index_t chunk) { return window.left + chunk; }, window);
}

/// Decoding steps to each of some lengths, over every cache and over tensors.
template <class... Policies>
void expect_one_decoding(const std::vector<index_t>& lengths, index_t key_offset,
                         const Policies&... policies) {
  const inputs<float> in = sequence_inputs(13, lengths.back());
  auto of = room;
  of.rows = lengths.back();
  own_contiguous<float> contiguous(of);
  own_ring<float> ring(of, 3);
  own_paged<float> small_pages(of, 7);
  own_paged<float> large_pages(of, 200);
  const relpos::options placed{.key_offset = key_offset};
  relpos::options opts = of_decode;
  opts.key_offset = key_offset;
  const auto append = [&](index_t first, index_t last) {
    support::append_rows(contiguous, in, first, last, policies..., placed);
    const index_t half = (first + last) / 2;
    if (half > first) support::append_rows(ring, in, first, half, policies..., placed);
    support::append_rows(ring, in, half, last, policies..., placed);
    support::append_rows(small_pages, in, first, last, policies..., placed);
    support::append_rows(large_pages, in, first, last, policies..., placed);
  };
  index_t first = 0;
  for (const index_t last : lengths) {
    SCOPED_TRACE(last);
    append(first, last);
    for (const index_t count : {index_t{1}, std::min<index_t>(last - first, 9)}) {
      const auto q = in.q.view().slice(2, last - count, count);
      const attended<float> wanted = support::attend(
          q, in.k.view().slice(2, 0, last), in.v.view().slice(2, 0, last), opts, policies...);
      const auto expect = [&](auto& cache, const char* what) {
        SCOPED_TRACE(what);
        support::expect_same_rows(support::attend_cache(cache.cache(), q, opts, policies...),
                                  wanted, 0);
      };
      expect(contiguous, "contiguous");
      expect(ring, "ring");
      expect(small_pages, "pages of 7");
      expect(large_pages, "pages of 200");
    }
    first = last;
  }
}

TEST(cache_reproducible, decoding_is_the_same_over_any_cache) {
  const std::vector<index_t> lengths{1, 127, 128, 129, 130, 400, 640, 700};
  expect_one_decoding(lengths, 0, relpos::alibi{slopes}, relpos::causal{});
  expect_one_decoding(lengths, 0, relpos::rotary{xpos}, relpos::causal{});
  expect_one_decoding(lengths, 0, window);
}

// Rows that stand from 1000 on are in up to four chunks of 1024 positions, whose states are merged.
TEST(cache_reproducible, decoding_over_some_chunks_is_the_same_over_any_cache) {
  const std::vector<index_t> lengths{23, 24, 25, 1048, 1049, 2000, 2300};
  expect_one_decoding(lengths, 1000, relpos::alibi{slopes}, relpos::causal{});
  expect_one_decoding(lengths, 1000, relpos::rotary{xpos}, relpos::causal{});
  expect_one_decoding(lengths, 1000, relpos::band{1500, 0});
}

index_t length_of(index_t sequence) {
  constexpr std::array<index_t, 5> lengths{700, 1, 130, 0, 513};
  return lengths[static_cast<std::size_t>(sequence % 5)];
}

/// A cache of sequences of different lengths, and one query of each.
template <class Own, class Executor, class... Policies>
attended<float> decode_batch(Own to, const std::vector<index_t>& sequences, const Executor& runner,
                             const relpos::options& opts, const Policies&... policies) {
  support::tensor<float> q({static_cast<index_t>(sequences.size()), 2, 1, 32});
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    const inputs<float> in = sequence_inputs(static_cast<std::uint32_t>(sequences[i]));
    support::append_rows_of(to, static_cast<index_t>(i), in, 0, length_of(sequences[i]),
                            policies...);
    for (index_t head = 0; head < 2; ++head) {
      for (index_t c = 0; c < 32; ++c) {
        q(static_cast<index_t>(i), head, index_t{0}, c) = in.q(index_t{0}, head, index_t{5}, c);
      }
    }
  }
  const auto& queries = q;
  return support::attend_cache_on(runner, to.cache(), queries.view(), opts, policies...);
}

template <class Own, class... Policies>
void expect_any_batch(const relpos::options& opts, const Policies&... policies) {
  std::vector<attended<float>> alone;
  const auto make = [](std::size_t batch) {
    auto of = room;
    of.batch = static_cast<index_t>(batch);
    return Own(of);
  };
  for (index_t i = 0; i < 9; ++i) {
    alone.push_back(decode_batch(make(1), {i}, relpos::serial{}, opts, policies...));
  }
  const auto expect = [&](const std::vector<index_t>& sequences, const auto& runner) {
    const attended<float> got =
        decode_batch(make(sequences.size()), sequences, runner, opts, policies...);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      SCOPED_TRACE(sequences[i]);
      support::expect_same_rows(got, alone[static_cast<std::size_t>(sequences[i])], 0,
                                static_cast<index_t>(i));
    }
  };
  expect({1, 0}, relpos::serial{});
  expect({2, 3}, relpos::serial{});
  const std::vector<index_t> nine{8, 3, 0, 1, 7, 2, 5, 4, 6};
  expect(nine, relpos::serial{});
  expect(nine, support::shuffled{3});
  for (const index_t workers : {2, 3, 7}) expect(nine, support::threaded{workers});
}

TEST(cache_reproducible, whatever_is_beside_a_sequence_and_whoever_runs_it) {
  for (const relpos::options& opts : {of_decode, of_prefill}) {
    expect_any_batch<own_contiguous<float>>(opts, relpos::alibi{slopes}, relpos::causal{});
    expect_any_batch<own_paged<float>>(opts, relpos::rotary{xpos}, relpos::causal{});
    expect_any_batch<own_ring<float>>(opts, window);
  }
}

TEST(cache_reproducible, long_sequences_are_divided_the_same_by_any_executor) {
  const inputs<float> in = support::random_inputs(
      {.query_heads = 2, .query_length = 2, .key_length = 5000, .head_dim = 32, .value_dim = 11},
      3);
  auto of = room;
  of.rows = 5000;
  own_paged<float> to(of, 64);
  own_paged<float> by_threads(of, 64);
  support::append_rows(to, in, 0, 5000, relpos::rotary{xpos});
  support::append_rows_on(support::threaded{3}, by_threads, in, 0, 5000, relpos::rotary{xpos});
  EXPECT_TRUE(by_threads.memory == to.memory);
  const auto run = [&](const auto& runner) {
    return support::attend_cache_on(runner, to.cache(), in.q.view(), {}, relpos::rotary{xpos},
                                    relpos::causal{});
  };
  const attended<float> wanted = run(relpos::serial{});
  EXPECT_TRUE(same_bits(run(support::shuffled{3}), wanted));
  for (const index_t workers : {2, 3, 7}) {
    EXPECT_TRUE(same_bits(run(support::threaded{workers}), wanted));
  }
}

}  // namespace
