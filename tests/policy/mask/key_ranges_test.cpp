#include "relpos/policy/mask/key_ranges.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::inputs;

using list = relpos::view<const index_t, 2>;

constexpr index_t length = 300;

inputs<float> two_entries(index_t queries) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = length,
                                 .head_dim = 16,
                                 .value_dim = 5},
                                87);
}

struct range_of_keys {
  index_t begin, end;
};

/// The images of each entry, of which one is longer than a tile and one is a single token.
const std::vector<std::vector<range_of_keys>> images{{{3, 9}, {60, 200}, {299, 300}}, {{0, 130}}};

bool in_same_image(index_t batch, index_t a, index_t b) {
  for (const range_of_keys& image : images[static_cast<std::size_t>(batch)]) {
    if (image.begin <= a && a < image.end) return image.begin <= b && b < image.end;
  }
  return false;
}

struct lists {
  std::vector<index_t> first, last;  // [batch, position]

  relpos::key_ranges mask() const {
    const auto entries = static_cast<index_t>(first.size()) / length;
    return {list(first.data(), {entries, length}), list(last.data(), {entries, length})};
  }
};

/// Causal, and images whose tokens see each other.
lists with_images() {
  lists result;
  for (const auto& of_entry : images) {
    for (index_t position = 0; position < length; ++position) {
      index_t end = position + 1;
      for (const range_of_keys& image : of_entry) {
        if (image.begin <= position && position < image.end) end = image.end;
      }
      result.first.push_back(0);
      result.last.push_back(end);
    }
  }
  return result;
}

using visibility = std::function<bool(index_t batch, index_t q_pos, index_t k_pos)>;

template <class... Policies>
void expect_both_kernels(const visibility& visible, const Policies&... policies) {
  using relpos::kernel_class;
  for (const index_t queries : {1, 3, 70, 300}) {
    const inputs<float> in = two_entries(queries);
    const support::meaning means{
        .element_bias = [&](index_t batch, index_t, index_t query_row, index_t key_row) {
          const index_t q_pos = query_row + length - queries;
          return visible(batch, q_pos, key_row) ? 0.0 : -std::numeric_limits<double>::infinity();
        }};
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      SCOPED_TRACE(std::to_string(queries) + " queries");
      expect_means(attend(in, {.kernel = kernel}, policies...), in, means);
    }
  }
}

TEST(key_ranges, show_images_both_ways) {
  const lists of = with_images();
  expect_both_kernels(
      [](index_t batch, index_t q_pos, index_t k_pos) {
        return k_pos <= q_pos || in_same_image(batch, q_pos, k_pos);
      },
      of.mask());
}

TEST(key_ranges, beside_a_window) {
  const lists of = with_images();
  expect_both_kernels(
      [](index_t batch, index_t q_pos, index_t k_pos) {
        return (k_pos <= q_pos || in_same_image(batch, q_pos, k_pos)) && k_pos > q_pos - 50;
      },
      of.mask(), relpos::band{49, length});
}

/// Ranges of every kind: empty, reversed, before and behind all keys, in no order.
TEST(key_ranges, may_be_any) {
  lists of;
  std::uint32_t state = 1;
  const auto next = [&](index_t below) {
    state = state * 1664525u + 1013904223u;
    return static_cast<index_t>(state >> 8) % below;
  };
  for (index_t position = 0; position < length; ++position) {
    of.first.push_back(next(2 * length) - length / 2);
    of.last.push_back(next(2 * length) - length / 2);
  }
  of.first[0] = -relpos::max_offset;
  of.last[0] = relpos::max_offset;
  expect_both_kernels(
      [&](index_t, index_t q_pos, index_t k_pos) {
        const auto q = static_cast<std::size_t>(q_pos);
        return of.first[q] <= k_pos && k_pos < of.last[q];
      },
      of.mask());
}

TEST(key_ranges, inside_another_mask) {
  const lists of = with_images();
  expect_both_kernels(
      [](index_t batch, index_t q_pos, index_t k_pos) {
        const bool in_range = k_pos <= q_pos || in_same_image(batch, q_pos, k_pos);
        return (in_range && k_pos > q_pos - 50) || k_pos < 4;
      },
      relpos::either{relpos::both{of.mask(), relpos::band{49, length}}, relpos::sinks{4}});
}

TEST(key_ranges, are_counted) {
  const lists of = with_images();
  const std::vector<float> scales{0.3f, 0.1f};
  support::expect_reference_of(two_entries(70), {}, of.mask(), relpos::ssmax{scales});
}

template <class Mask>
std::string refusal(const Mask& mask, const relpos::options& opts) {
  const inputs<float> in = two_entries(10);
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial(), in.q.view(), in.k.view(), in.v.view(), opts));
  support::tensor<float> out({2, 2, 10, 5});
  return relpos::attention(relpos::serial(), memory, out.view(), in.q.view(), in.k.view(),
                           in.v.view(), mask, opts)
      .message;
}

TEST(key_ranges, have_positions_for_all_queries) {
  const lists of = with_images();
  EXPECT_EQ(refusal(of.mask(), {}), "");
  EXPECT_EQ(refusal(of.mask(), {.query_offset = 291}),
            "key_ranges: first and last have 300 positions, but the queries of sequence 0 are at "
            "291 to 300");
  EXPECT_EQ(refusal(relpos::both{of.mask(), relpos::causal{}}, {.query_offset = 291}),
            refusal(of.mask(), {.query_offset = 291}));
  EXPECT_EQ(refusal(of.mask(), {.query_offset = -1}),
            "key_ranges: first and last have 300 positions, but the queries of sequence 0 are at "
            "-1 to 8");
}

TEST(key_ranges, are_checked_where_queries_read_them) {
  lists endless = with_images();
  endless.last[304] = std::numeric_limits<index_t>::max();
  EXPECT_EQ(refusal(endless.mask(), {.query_offset = 0}),
            "key_ranges: last is 9223372036854775807 at [1, 4], must be within +-2^60");
  EXPECT_EQ(refusal(endless.mask(), {.query_offset = 5}), "");
  endless.first[5] = std::numeric_limits<index_t>::min();
  EXPECT_EQ(refusal(endless.mask(), {.query_offset = 5}),
            "key_ranges: first is -9223372036854775808 at [0, 5], must be within +-2^60");
}

TEST(key_ranges, fit_the_batch) {
  const lists of = with_images();
  EXPECT_TRUE(of.mask().check({.batch = 2}));
  EXPECT_STREQ(of.mask().check({.batch = 3}).message,
               "key_ranges: first and last are [2, 300], must be [batch or 1, position] for a "
               "batch of 3");
  const relpos::key_ranges shorter{list(of.first.data(), {2, 300}), list(of.last.data(), {2, 299})};
  EXPECT_STREQ(shorter.check({.batch = 2}).message,
               "key_ranges: first and last must have the same shape, first is [2, 300], last is "
               "[2, 299]");
  const relpos::key_ranges null{list(nullptr, {2, 300}), list(of.last.data(), {2, 300})};
  EXPECT_EQ(null.check({.batch = 2}).code, relpos::status_code::null_data);
}

TEST(key_ranges, lists_are_not_written) {
  const lists of = with_images();
  EXPECT_TRUE(of.mask().reads(relpos::byte_range::of(of.first.data() + 599, 1)));
  EXPECT_TRUE(of.mask().reads(relpos::byte_range::of(of.last.data() + 599, 1)));
  const index_t other = 0;
  EXPECT_FALSE(of.mask().reads(relpos::byte_range::of(&other, 1)));
}

}  // namespace
