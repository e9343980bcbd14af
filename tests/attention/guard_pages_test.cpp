// No call touches a byte outside of its arguments: each ends where a page begins that cannot be
// accessed, or begins where one ends. Vectors at the tails of rows are what could reach over.

#include <gtest/gtest.h>

#include <cstdint>
#include <numeric>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/caches.hpp"
#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/guarded_memory.hpp"

namespace {

using relpos::index_t;
using support::guarded_memory;
using support::guarded_side;
using support::guarded_tensor;

constexpr guarded_side sides[] = {guarded_side::end, guarded_side::begin};

/// Lengths and channels on both sides of every width of vectors, and of a tile of keys.
std::vector<support::sizes> shapes() {
  std::vector<support::sizes> result;
  constexpr index_t channels[][2] = {{1, 1},   {3, 5},   {7, 2},   {8, 8},
                                     {15, 17}, {16, 31}, {33, 16}, {65, 9}};
  constexpr index_t lengths[][2] = {{1, 1}, {1, 17}, {2, 15}, {3, 131}, {17, 16}, {50, 33}};
  for (const auto& [d, dv] : channels) {
    for (const auto& [queries, keys] : lengths) {
      result.push_back({.batch = 1,
                        .query_heads = 2,
                        .key_heads = 1,
                        .query_length = queries,
                        .key_length = keys,
                        .head_dim = d,
                        .value_dim = dv});
    }
  }
  // One row of a key head has loops of its own over whole tiles.
  constexpr index_t whole[][2] = {{64, 64}, {128, 24}, {24, 40}};
  for (const auto& [d, dv] : whole) {
    result.push_back({.batch = 1,
                      .query_heads = 2,
                      .key_heads = 2,
                      .query_length = 1,
                      .key_length = 256,
                      .head_dim = d,
                      .value_dim = dv});
  }
  return result;
}

template <class T>
std::vector<T> copied(const guarded_tensor<T, 4>& of) {
  return {of.data(), of.data() + of.size()};
}

/// Both kernels, with a matrix, slopes and sinks that end at pages too.
template <class T>
void expect_no_access_outside(relpos::kernel_class kernel) {
  for (const support::sizes& of : shapes()) {
    const auto in = support::random_inputs<T>(of, 1);
    const auto matrix = support::random_tensor<float>({1, 2, of.query_length, of.key_length}, 5);
    const std::vector<float> slopes{0.5f, 0.25f};
    const std::vector<float> sinks{0.1f, -0.2f};
    relpos::options opts{.kernel = kernel};
    const auto expected = support::attend<relpos::native, T>(
        in, opts, relpos::additive_bias(matrix.view()), relpos::alibi{slopes},
        relpos::sink_logits{sinks}, relpos::causal{});
    for (const guarded_side side : sides) {
      const guarded_tensor<T, 4> q(in.q.shape, in.q.values.data(), side);
      const guarded_tensor<T, 4> k(in.k.shape, in.k.values.data(), side);
      const guarded_tensor<T, 4> v(in.v.shape, in.v.values.data(), side);
      const guarded_tensor<T, 4> out(expected.out.shape, side);
      const guarded_tensor<float, 3> lse(expected.lse.shape, side);
      const guarded_tensor<float, 4> bias(matrix.shape, matrix.values.data(), side);
      const guarded_tensor<float, 1> head_slopes({2}, slopes.data(), side);
      const guarded_tensor<float, 1> head_sinks({2}, sinks.data(), side);
      const auto per_head = [](const guarded_tensor<float, 1>& numbers) {
        return std::span<const float>(numbers.data(), numbers.size());
      };
      opts.lse = lse.view();
      const auto call =
          relpos::prepare(relpos::serial{}, out.view(), q.view(), k.view(), v.view(), opts,
                          relpos::additive_bias(bias.view()), relpos::alibi(per_head(head_slopes)),
                          relpos::sink_logits(per_head(head_sinks)), relpos::causal{});
      const guarded_memory workspace(call.workspace_bytes(), side);
      const relpos::status done =
          call.run(relpos::serial{}, {workspace.data(), call.workspace_bytes()});
      ASSERT_TRUE(done) << done.message;
      ASSERT_EQ(0, std::memcmp(out.data(), expected.out.values.data(), out.size() * sizeof(T)));
      ASSERT_EQ(0, std::memcmp(lse.data(), expected.lse.values.data(), lse.size() * sizeof(float)));
    }
  }
}

TEST(guard_pages, prefill_of_float) {
  expect_no_access_outside<float>(relpos::kernel_class::prefill);
}
TEST(guard_pages, prefill_of_bfloat16) {
  expect_no_access_outside<relpos::bfloat16>(relpos::kernel_class::prefill);
}
TEST(guard_pages, prefill_of_half) {
  expect_no_access_outside<relpos::half>(relpos::kernel_class::prefill);
}
TEST(guard_pages, decode_of_float) {
  expect_no_access_outside<float>(relpos::kernel_class::decode);
}
TEST(guard_pages, decode_of_bfloat16) {
  expect_no_access_outside<relpos::bfloat16>(relpos::kernel_class::decode);
}
TEST(guard_pages, decode_of_half) {
  expect_no_access_outside<relpos::half>(relpos::kernel_class::decode);
}

/// Pages of three rows, which append fills and both kernels read. With a ring of as many rows the
/// same code reads rows, so pages stand for all caches.
template <class Stored>
void expect_no_access_outside_of_cache() {
  constexpr index_t group = relpos::channels_of_element<Stored>;
  constexpr index_t page_rows = 3;
  constexpr index_t channels[] = {1, 3, 8, 17, 31};
  for (const index_t width : channels) {
    for (const index_t rows : {1, 5, 131}) {
      for (const guarded_side side : sides) {
        const index_t d = width * group;
        const index_t blocks = (rows + page_rows - 1) / page_rows;
        const std::array<index_t, 4> new_rows{1, 1, rows, d};
        const auto k_values = support::random_tensor<float>(new_rows, 1);
        const auto v_values = support::random_tensor<float>(new_rows, 2);
        const guarded_tensor<float, 4> k(new_rows, k_values.values.data(), side);
        const guarded_tensor<float, 4> v(new_rows, v_values.values.data(), side);
        const std::array<index_t, 4> pages{blocks, 1, page_rows, width};
        const guarded_tensor<Stored, 4> keys(pages, side);
        const guarded_tensor<Stored, 4> values(pages, side);
        const std::array<index_t, 3> scales{blocks, 1, page_rows};
        const guarded_tensor<float, 3> key_scales(scales, side);
        const guarded_tensor<float, 3> value_scales(scales, side);
        const guarded_tensor<std::int32_t, 2> table({1, blocks}, side);
        std::iota(table.data(), table.data() + blocks, 0);
        const guarded_tensor<index_t, 1> lengths({1}, side);
        *lengths.data() = 0;
        relpos::cache_memory<Stored> memory{keys.view(), values.view()};
        if constexpr (relpos::storage_traits<Stored>::is_scaled) {
          memory.key_scales = key_scales.view();
          memory.value_scales = value_scales.view();
        }
        const relpos::paged_cache<Stored> cache{memory, {lengths.data(), 1}, {table.view()}};
        relpos::status done = relpos::append(relpos::serial{}, cache, k.view(), v.view());
        ASSERT_TRUE(done) << done.message;
        for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
          const std::array<index_t, 4> q_shape{1, 2, 1, d};
          const auto q_values = support::random_tensor<float>(q_shape, 3);
          const guarded_tensor<float, 4> q(q_shape, q_values.values.data(), side);
          const guarded_tensor<float, 4> out(q_shape, side);
          const relpos::options opts{.kernel = kernel};
          const auto call = relpos::prepare(relpos::serial{}, out.view(), q.view(), cache,
                                            relpos::causal{}, opts);
          const guarded_memory workspace(call.workspace_bytes(), side);
          done = call.run(relpos::serial{}, {workspace.data(), call.workspace_bytes()});
          ASSERT_TRUE(done) << done.message;
          for (const float x : copied(out)) ASSERT_TRUE(-1.5f < x && x < 1.5f) << x;
        }
      }
    }
  }
}

TEST(guard_pages, cache_of_float) { expect_no_access_outside_of_cache<float>(); }
TEST(guard_pages, cache_of_bfloat16) { expect_no_access_outside_of_cache<relpos::bfloat16>(); }
TEST(guard_pages, cache_of_half) { expect_no_access_outside_of_cache<relpos::half>(); }
TEST(guard_pages, cache_of_int8) { expect_no_access_outside_of_cache<relpos::int8>(); }
TEST(guard_pages, cache_of_float8_e4m3) {
  expect_no_access_outside_of_cache<relpos::float8_e4m3>();
}
TEST(guard_pages, cache_of_float8_e5m2) {
  expect_no_access_outside_of_cache<relpos::float8_e5m2>();
}
TEST(guard_pages, cache_of_int4) { expect_no_access_outside_of_cache<relpos::int4_group<32>>(); }

}  // namespace
