// Policies that bind to a batch entry: padding and temperatures that differ from one to the next.

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::key_range;
using support::inputs;

inputs<float> two_batches() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = 70,
                                 .key_length = 300,
                                 .head_dim = 8,
                                 .value_dim = 8},
                                59);
}

/// Each batch entry has its own number of keys: the others are padding.
struct padded_keys {
  const index_t* key_counts;

  struct own_keys {
    index_t count;
    key_range visible_keys(index_t) const { return {0, count}; }
  };
  own_keys bind(index_t batch, index_t) const { return {key_counts[batch]}; }
};

TEST(batch_policies, padding_by_batch_entry) {
  const index_t counts[][2] = {{300, 120}, {120, 300}, {0, 300}, {1, 0}};
  for (const auto& count : counts) {
    SCOPED_TRACE(testing::Message() << count[0] << " and " << count[1] << " keys");
    expect_reference_of(two_batches(), {}, padded_keys{count});
    expect_reference_of(two_batches(), {}, padded_keys{count}, relpos::causal{});
  }
}

TEST(batch_policies, padding_by_batch_entry_with_a_tabulated_bias) {
  const relpos::relative_bias wave{[](index_t head, index_t distance) {
    return std::sin(0.05 * static_cast<double>(distance)) * static_cast<double>(head + 1);
  }};
  const index_t counts[][2] = {{300, 120}, {120, 300}, {0, 300}, {1, 0}};
  for (const auto& count : counts) {
    SCOPED_TRACE(testing::Message() << count[0] << " and " << count[1] << " keys");
    expect_reference_of(two_batches(), {}, wave, padded_keys{count});
  }
}

/// The same as an element mask.
struct padded_elements {
  const index_t* key_counts;

  struct own_keys {
    index_t count;
    bool keep(index_t, index_t k_pos) const { return k_pos < count; }
    relpos::tile_class classify(const relpos::tile& of) const {
      if (count <= of.first_key) return relpos::tile_class::skip;
      return of.last_key <= count ? relpos::tile_class::full : relpos::tile_class::partial;
    }
  };
  own_keys bind(index_t batch, index_t) const { return {key_counts[batch]}; }
};

TEST(batch_policies, element_masks) {
  const index_t counts[2] = {300, 120};
  const inputs<float> in = two_batches();
  EXPECT_TRUE(
      same_bits(attend(in, {}, padded_elements{counts}), attend(in, {}, padded_keys{counts})));
  expect_reference_of(two_batches(), {}, padded_elements{counts}, relpos::causal{});
}

/// A temperature for each head, and one for each batch entry and head.
struct head_temperature {
  const float* degrees;
  struct own {
    float value;
    float softmax_temperature() const { return value; }
  };
  own bind(index_t head) const { return {degrees[head]}; }
};
struct batch_temperature {
  const float* degrees;
  head_temperature::own bind(index_t batch, index_t head) const {
    return {degrees[2 * batch + head]};
  }
};

TEST(batch_policies, temperatures_by_head_and_batch_entry) {
  const float degrees[] = {0.5f, 2.0f, 1.5f, 0.25f};
  const std::vector<float> slopes{0.1f, 0.02f};
  expect_reference_of(two_batches(), {}, head_temperature{degrees}, relpos::alibi{slopes},
                      relpos::causal{});
  expect_reference_of(two_batches(), {}, batch_temperature{degrees}, relpos::alibi{slopes},
                      relpos::causal{});
}

TEST(batch_policies, temperatures_by_head_and_batch_entry_with_a_tabulated_bias) {
  const float degrees[] = {0.5f, 2.0f, 1.5f, 0.25f};
  const relpos::relative_bias decay{
      [](index_t, index_t distance) { return -0.03 * std::abs(static_cast<double>(distance)); }};
  expect_reference_of(two_batches(), {}, head_temperature{degrees}, decay);
  expect_reference_of(two_batches(), {}, batch_temperature{degrees}, decay);
}

}  // namespace
