#include "relpos/policy/mask/prefix.hpp"

#include <gtest/gtest.h>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sliding_window.hpp"

namespace {

using relpos::index_t;

TEST(prefix, is_seen_by_all) {
  for (const index_t count : {0, 1, 30, 128, 140, 1000}) {
    SCOPED_TRACE("prefix of " + std::to_string(count));
    support::expect_visible(
        [=](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos || k_pos < count; },
        relpos::prefix{count});
  }
}

TEST(prefix, of_nothing_is_causal_and_of_everything_full) {
  const auto in = support::two_heads(150, 150);
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::prefix{0}), attend(in, {}, relpos::causal{})));
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::prefix{150}), attend(in, {}, relpos::full{})));
  EXPECT_FALSE(same_bits(attend(in, {}, relpos::prefix{2}), attend(in, {}, relpos::causal{})));
}

TEST(sinks, are_the_first_keys) {
  for (const index_t count : {0, 1, 4, 130}) {
    support::expect_visible([=](index_t, index_t, index_t k_pos) { return k_pos < count; },
                            relpos::sinks{count});
  }
}

TEST(prefix, counts_are_not_negative) {
  for (const index_t count : {index_t{-1}, (index_t{1} << 60) + 1}) {
    EXPECT_FALSE(relpos::prefix{count}.check({}));
    EXPECT_FALSE(relpos::sinks{count}.check({}));
  }
  EXPECT_STREQ(relpos::sinks{-2}.check({}).message, "sinks: count is -2, must be 0 to 2^60");
}

}  // namespace
