#include "relpos/policy/mask/documents.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <span>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policy/mask/blockwise.hpp"
#include "relpos/policy/mask/causal.hpp"

namespace {

using relpos::index_t;

/// The number of the document that has a position, -1 for none.
int document_of(const std::vector<index_t>& starts, index_t position) {
  for (std::size_t i = 0; i + 1 < starts.size(); ++i) {
    if (starts[i] <= position && position < starts[i + 1]) return static_cast<int>(i);
  }
  return -1;
}

TEST(documents, do_not_see_each_other) {
  const std::vector<std::vector<index_t>> packings = {
      {0, 300}, {0, 1, 2, 50, 128, 129, 260}, {10, 10, 10, 40, 40, 100}, {-20, 0, 64, 200, 1000}};
  for (const std::vector<index_t>& starts : packings) {
    const auto together = [&](index_t, index_t q_pos, index_t k_pos) {
      const int document = document_of(starts, q_pos);
      return document >= 0 && document == document_of(starts, k_pos);
    };
    support::expect_visible(together, relpos::documents{starts});
    support::expect_visible(
        [&](index_t head, index_t q_pos, index_t k_pos) {
          return k_pos <= q_pos && together(head, q_pos, k_pos);
        },
        relpos::documents{starts}, relpos::causal{});
  }
}

// Blocks of blockwise causal attention begin with each document.
TEST(documents, have_a_mask_of_their_own_positions) {
  const std::vector<index_t> starts{0, 1, 50, 128, 129, 260};
  support::expect_visible(
      [&](index_t, index_t q_pos, index_t k_pos) {
        const int document = document_of(starts, q_pos);
        if (document < 0 || document != document_of(starts, k_pos) || k_pos > q_pos) return false;
        const index_t start = starts[static_cast<std::size_t>(document)];
        return (k_pos - start) / 16 + 1 >= (q_pos - start) / 16;
      },
      relpos::documents{starts, relpos::blockwise_causal{16}});
}

TEST(documents, of_none_see_nothing) {
  const std::vector<index_t> none;
  const std::vector<index_t> one{5};
  const auto nothing = [](index_t, index_t, index_t) { return false; };
  support::expect_visible(nothing, relpos::documents{none});
  support::expect_visible(nothing, relpos::documents{one});
}

TEST(documents, starts_ascend) {
  const std::vector<index_t> starts{0, 7, 6, 9};
  EXPECT_STREQ(relpos::documents{starts}.check({}).message,
               "documents: starts must ascend, but 7 is followed by 6 at 2");
  const std::vector<index_t> endless{0, std::numeric_limits<index_t>::max()};
  EXPECT_STREQ(relpos::documents{endless}.check({}).message,
               "documents: starts have 9223372036854775807 at 1, must be -2^60 to 2^60");
  EXPECT_STREQ((relpos::documents{starts, relpos::blockwise_causal{0}}.check({}).message),
               "documents: starts must ascend, but 7 is followed by 6 at 2");
  relpos::documents null{std::span<const index_t>()};
  EXPECT_TRUE(null.check({}));
  null.starts.size = 3;
  EXPECT_EQ(null.check({}).code, relpos::status_code::null_data);
}

TEST(documents, starts_are_not_written) {
  const std::vector<index_t> starts{0, 7, 9};
  const relpos::documents mask{starts};
  EXPECT_TRUE(mask.reads(relpos::byte_range::of(starts.data() + 2, 1)));
  EXPECT_FALSE(mask.reads(relpos::byte_range::of(starts.data() + 3, 8)));
}

}  // namespace
