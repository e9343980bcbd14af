#include "relpos/policy/row_tables.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "relpos/policies.hpp"
#include "support/naive.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using relpos::key_tables;
using relpos::query_tables;
using support::inputs;
using support::tensor;

constexpr index_t length = 150;
constexpr index_t span = 8;  // DeBERTa: 2 * span buckets of q_pos - k_pos

inputs<float> encoder() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = length,
                                 .key_length = length,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                17);
}

/// DeBERTa v2's buckets of a distance: itself up to span / 2, then logarithmic steps.
index_t log_bucket(index_t distance) {
  const double middle = span / 2.0;
  const auto size = static_cast<double>(distance < 0 ? -distance : distance);
  if (size <= middle) return distance;
  const double step =
      std::ceil(std::log(size / middle) / std::log((64.0 - 1.0) / middle) * (middle - 1.0));
  return static_cast<index_t>(distance < 0 ? -step - middle : step + middle);
}

index_t clipped(index_t place) { return place < 0 ? 0 : place >= 2 * span ? 2 * span - 1 : place; }

TEST(row_tables, are_both_sides_of_deberta) {
  const inputs<float> in = encoder();
  const auto to_positions = support::random_tensor({2, 2, length, 2 * span}, 3);  // of queries
  const auto from_positions = support::random_tensor({2, 2, length, 2 * span}, 4);
  std::vector<std::int32_t> of_queries, of_keys;
  for (index_t distance = 1 - length; distance < length; ++distance) {
    of_queries.push_back(static_cast<std::int32_t>(clipped(log_bucket(-distance) + span)));
    of_keys.push_back(static_cast<std::int32_t>(clipped(-log_bucket(-distance) + span)));
  }
  const support::meaning means{.element_bias = [&](index_t b, index_t h, index_t q, index_t k) {
    return static_cast<double>(to_positions(b, h, q, clipped(log_bucket(q - k) + span))) +
           static_cast<double>(from_positions(b, h, k, clipped(-log_bucket(q - k) + span)));
  }};
  const query_tables first(to_positions.view(), of_queries, 1 - length);
  const key_tables second(from_positions.view(), of_keys, 1 - length);
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    const auto got = attend(in, {.kernel = kernel}, first, second);
    expect_means(got, in, means);
    expect_reference(got, in, {.kernel = kernel}, first, second);
  }
}

/// Beyond the list, distances have the bucket of its ends; queries may be fewer than keys.
TEST(row_tables, repeat_the_ends_of_the_list) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 2,
                                                   .key_heads = 1,
                                                   .query_length = 20,
                                                   .key_length = 90,
                                                   .head_dim = 8,
                                                   .value_dim = 4},
                                                  18);
  const auto tables = support::random_tensor({1, 2, 20, 3}, 5);
  const std::vector<std::int32_t> buckets{2, 0, 1};  // of distances 4 to 6
  const query_tables bias(tables.view(), buckets, 4);
  for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
    expect_means(attend(in, {.query_offset = 0, .kernel = kernel}, bias), in,
                 {.element_bias =
                      [&](index_t b, index_t h, index_t q, index_t k) {
                        const index_t bucket = k - q <= 4 ? 2 : k - q == 5 ? 0 : 1;
                        return static_cast<double>(tables(b, h, q, bucket));
                      },
                  .query_offset = 0});
  }
}

TEST(row_tables, refused) {
  const inputs<float> in = encoder();
  const std::vector<std::int32_t> buckets{0, 1, 2};
  const std::vector<std::int32_t> large{0, 3};
  const std::vector<std::int32_t> none;
  const auto refusal = [&](const auto& policy, const relpos::options& opts) {
    tensor<float> out({2, 2, length, 6}, 7.0f);
    std::vector<std::byte> memory(1 << 22);
    const relpos::status done = relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(),
                                                  in.k.view(), in.v.view(), policy, opts);
    EXPECT_EQ(out.values, std::vector<float>(out.values.size(), 7.0f));
    return std::string(done.message);
  };
  const tensor<float> fits({2, 2, length, 3});
  const tensor<float> short_one({2, 2, length - 1, 3});
  EXPECT_EQ(
      refusal(query_tables(short_one.view(), buckets, 0), {}),
      "query_tables: tables are [2, 2, 149, 3], must be [batch, heads, query, bucket] = [2, 2, "
      "150, 3], with a bucket");
  EXPECT_EQ(refusal(key_tables(short_one.view(), buckets, 0), {}),
            "key_tables: tables are [2, 2, 149, 3], must be [batch, heads, key, bucket] = [2, 2, "
            "150, 3], with a bucket");
  EXPECT_EQ(refusal(query_tables(fits.view(), large, 0), {}),
            "query_tables: buckets have 3 at 1, must be 0 to 2, tables are [2, 2, 150, 3]");
  EXPECT_EQ(refusal(key_tables(fits.view(), none, 0), {}),
            "key_tables: buckets must have a number for at least one distance");
  EXPECT_EQ(refusal(query_tables(fits.view(), buckets, 0), {.query_offset = 4}),
            "query_tables: the distances are of rows, but the queries of sequence 0 begin at 4 and "
            "its keys at 0: options.query_offset");
}

}  // namespace
