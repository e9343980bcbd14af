#include "relpos/policy/mask/blockwise.hpp"

#include <gtest/gtest.h>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/documents.hpp"
#include "relpos/policy/mask/left_padding.hpp"
#include "support/golden.hpp"

namespace {

using relpos::index_t;

/// Quotient rounded towards minus infinity, from its definition.
index_t block_of(index_t position, index_t block) {
  index_t result = position / block;
  while (result * block > position) --result;
  return result;
}

TEST(blockwise_causal, sees_its_block_and_the_one_before) {
  for (const index_t block : {1, 2, 7, 64, 100, 1000}) {
    SCOPED_TRACE("block " + std::to_string(block));
    support::expect_visible(
        [=](index_t, index_t q_pos, index_t k_pos) {
          const index_t before = block_of(q_pos, block) - 1;
          return k_pos <= q_pos && k_pos >= 0 && block_of(k_pos, block) >= before;
        },
        relpos::blockwise_causal{block});
  }
}

TEST(blockwise_causal, agrees_with_recorded_ranges) {
  int cases = 0;
  const nlohmann::json recorded = support::golden("blockwise_causal.json");
  for (const nlohmann::json& each : recorded.at("cases")) {
    const relpos::blockwise_causal mask{each.at("block").get<index_t>()};
    index_t q_pos = 0;
    for (const nlohmann::json& range : each.at("visible_key_range_by_query")) {
      EXPECT_EQ(mask.visible_keys(q_pos).first, range.at(0).get<index_t>());
      EXPECT_EQ(mask.visible_keys(q_pos).last, range.at(1).get<index_t>());
      ++q_pos;
    }
    EXPECT_EQ(q_pos, each.at("length").get<index_t>());
    ++cases;
  }
  EXPECT_EQ(cases, 5);
}

TEST(blockwise_causal, is_causal_within_the_training_length) {
  const auto in = support::two_heads(200, 200);
  EXPECT_TRUE(
      same_bits(attend(in, {}, relpos::blockwise_causal{100}), attend(in, {}, relpos::causal{})));
  EXPECT_FALSE(
      same_bits(attend(in, {}, relpos::blockwise_causal{99}), attend(in, {}, relpos::causal{})));
}

TEST(chunked_causal, sees_its_chunk) {
  for (const index_t chunk : {1, 2, 7, 64, 100, 1000}) {
    SCOPED_TRACE("chunk " + std::to_string(chunk));
    support::expect_visible(
        [=](index_t, index_t q_pos, index_t k_pos) {
          return k_pos <= q_pos && block_of(k_pos, chunk) == block_of(q_pos, chunk);
        },
        relpos::chunked_causal{chunk});
  }
}

TEST(chunked_causal, is_causal_in_documents_of_its_length) {
  const auto in = support::two_heads(200, 200);
  const std::vector<index_t> starts{0, 70, 140, 210};
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::chunked_causal{70}),
                        attend(in, {}, relpos::documents{starts, relpos::causal{}})));
}

TEST(chunked_causal, counts_chunks_from_the_first_token_behind_padding) {
  const std::vector<index_t> counts{13};
  support::expect_visible(
      [](index_t, index_t q_pos, index_t k_pos) {
        return 13 <= k_pos && k_pos <= q_pos && (k_pos - 13) / 32 == (q_pos - 13) / 32;
      },
      relpos::left_padding{counts, relpos::chunked_causal{32}});
}

TEST(block_lower, sees_its_block_whole) {
  for (const index_t block : {1, 2, 7, 64, 100, 1000}) {
    SCOPED_TRACE("block " + std::to_string(block));
    support::expect_visible(
        [=](index_t, index_t q_pos, index_t k_pos) {
          return block_of(k_pos, block) <= block_of(q_pos, block);
        },
        relpos::block_lower{block});
  }
}

TEST(blockwise, blocks_are_positive) {
  for (const index_t block : {index_t{0}, index_t{-5}, (index_t{1} << 60) + 1}) {
    EXPECT_FALSE(relpos::blockwise_causal{block}.check({}));
    EXPECT_FALSE(relpos::block_lower{block}.check({}));
  }
  EXPECT_STREQ(relpos::blockwise_causal{0}.check({}).message,
               "blockwise_causal: block is 0, must be 1 to 2^60");
  EXPECT_TRUE(relpos::blockwise_causal{1}.check({}));
  EXPECT_TRUE(relpos::block_lower{index_t{1} << 60}.check({}));
}

}  // namespace
