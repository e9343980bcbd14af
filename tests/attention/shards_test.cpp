// A shard of the heads, with its part of the policies' data, has the bits of those heads of the
// whole call.

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

#include "relpos/policies.hpp"
#include "support/attend.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;

constexpr index_t heads = 12;
constexpr index_t buckets = 32;

std::vector<float> numbers(index_t count, std::uint32_t seed, float spread) {
  return support::random_tensor({1, 1, 1, count}, seed, spread).values;
}

/// Numbers of heads [first, first + count), one per head.
std::vector<float> of_heads(const std::vector<float>& all, index_t first, index_t count) {
  return {all.begin() + first, all.begin() + first + count};
}

/// Columns [first, first + count) of a table [bucket, head].
std::vector<float> columns(const std::vector<float>& table, index_t first, index_t count) {
  std::vector<float> result;
  for (index_t bucket = 0; bucket < buckets; ++bucket) {
    for (index_t head = first; head < first + count; ++head) {
      result.push_back(table[static_cast<std::size_t>(bucket * heads + head)]);
    }
  }
  return result;
}

/// Rows [first, first + count) of a table [head, bucket].
std::vector<float> rows(const std::vector<float>& table, index_t first, index_t count) {
  return {table.begin() + first * buckets, table.begin() + (first + count) * buckets};
}

void expect_heads(const attended<float>& got, const attended<float>& whole, index_t first) {
  const auto& shape = got.out.shape;
  const auto bytes = [](index_t count) { return static_cast<std::size_t>(count) * sizeof(float); };
  for (index_t b = 0; b < shape[0]; ++b) {
    for (index_t h = 0; h < shape[1]; ++h) {
      const index_t of = first + h;
      ASSERT_EQ(std::memcmp(&got.lse(b, h, 0), &whole.lse(b, of, 0), bytes(shape[2])), 0)
          << "entry " << b << ", head " << of;
      ASSERT_EQ(
          std::memcmp(&got.out(b, h, 0, 0), &whole.out(b, of, 0, 0), bytes(shape[2] * shape[3])), 0)
          << "entry " << b << ", head " << of;
    }
  }
}

/// policies_of(first, count, use) calls use(policies...) with the data of those heads.
template <class PoliciesOf>
void expect_shards(const PoliciesOf& policies_of) {
  for (const index_t queries : {1, 20}) {
    const inputs<float> in = support::random_inputs({.batch = 2,
                                                     .query_heads = heads,
                                                     .key_heads = heads / 2,
                                                     .query_length = queries,
                                                     .key_length = 150,
                                                     .head_dim = 12,
                                                     .value_dim = 5},
                                                    8);
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      const relpos::options opts{.kernel = kernel};
      attended<float> whole;
      policies_of(0, heads,
                  [&](const auto&... policies) { whole = attend(in, opts, policies...); });
      for (const index_t count : {2, 4, 6}) {
        for (index_t first = 0; first < heads; first += count) {
          SCOPED_TRACE(testing::Message() << queries << " queries, kernel " << int(kernel) << ", "
                                          << count << " heads from " << first);
          policies_of(first, count, [&](const auto&... policies) {
            expect_heads(support::attend(std::as_const(in.q).view().slice(1, first, count),
                                         std::as_const(in.k).view().slice(1, first / 2, count / 2),
                                         std::as_const(in.v).view().slice(1, first / 2, count / 2),
                                         opts, policies...),
                         whole, first);
          });
        }
      }
    }
  }
}

TEST(shards, of_a_t5_table_in_both_layouts) {
  const std::vector<float> table = numbers(buckets * heads, 3, 2.0f);
  for (const auto layout :
       {relpos::t5_layout::buckets_by_heads, relpos::t5_layout::heads_by_buckets}) {
    const bool by_heads = layout == relpos::t5_layout::buckets_by_heads;
    SCOPED_TRACE(by_heads ? "columns" : "rows");
    expect_shards([&](index_t first, index_t count, const auto& use) {
      const std::vector<float> own =
          by_heads ? columns(table, first, count) : rows(table, first, count);
      use(relpos::t5_bias{own, relpos::bidirectional, {.layout = layout}});
    });
  }
}

TEST(shards, of_rotations_which_know_no_head) {
  for (const auto& frequencies : {relpos::rope_frequencies(12), relpos::xpos_frequencies(8)}) {
    const relpos::rotary_table rope(frequencies, relpos::pair_layout::interleaved);
    expect_shards(
        [&](index_t, index_t, const auto& use) { use(relpos::rotary{rope}, relpos::causal{}); });
  }
}

TEST(shards, of_head_temperatures_and_sink_logits) {
  std::vector<float> temperatures = numbers(heads, 4, 0.5f);
  for (float& each : temperatures) each += 1.0f;
  const std::vector<float> sinks = numbers(heads, 5, 4.0f);
  expect_shards([&](index_t first, index_t count, const auto& use) {
    const std::vector<float> own = of_heads(temperatures, first, count);
    const std::vector<float> own_sinks = of_heads(sinks, first, count);
    use(relpos::head_temperature{own}, relpos::sink_logits{own_sinks});
  });
}

}  // namespace
