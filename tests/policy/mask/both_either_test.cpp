#include "relpos/policy/mask/both_either.hpp"

#include <gtest/gtest.h>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/mask/sliding_window.hpp"

namespace {

using relpos::index_t;

TEST(either, of_a_window_and_sinks) {
  support::expect_visible(
      [](index_t, index_t q_pos, index_t k_pos) {
        return k_pos <= q_pos && (k_pos >= q_pos - 30 || k_pos < 4);
      },
      relpos::either{relpos::band{30, 0}, relpos::sinks{4}}, relpos::causal{});
}

TEST(both, of_ranges_is_a_range) {
  const relpos::both mask{relpos::causal{}, relpos::band{20, 20}};
  static_assert(relpos::masks_range<decltype(mask)> && !relpos::masks_elements<decltype(mask)>);
  support::expect_visible(
      [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos && k_pos >= q_pos - 20; },
      mask);
}

/// Even keys; the second head sees odd ones.
struct parity {
  struct of_head {
    index_t rest;
    bool keep(index_t, index_t k_pos) const { return (k_pos & 1) == rest; }
  };
  of_head bind(index_t head) const { return {head}; }
};

TEST(combined_masks, bind_what_differs_between_heads) {
  support::expect_visible([](index_t head, index_t q_pos,
                             index_t k_pos) { return k_pos <= q_pos && (k_pos & 1) == head; },
                          relpos::both{relpos::causal{}, parity{}});
  support::expect_visible([](index_t head, index_t q_pos,
                             index_t k_pos) { return k_pos > q_pos - 3 || (k_pos & 1) == head; },
                          relpos::either{parity{}, relpos::band{2, index_t{1} << 40}});
}

struct forty_ahead {
  bool keep(index_t q_pos, index_t k_pos) const { return k_pos == q_pos + 40; }
};

TEST(combined_masks, nest) {
  support::expect_visible(
      [](index_t, index_t q_pos, index_t k_pos) {
        return (k_pos <= q_pos && k_pos >= q_pos - 9) || k_pos < 3 || k_pos == q_pos + 40;
      },
      relpos::either{
          relpos::either{relpos::both{relpos::causal{}, relpos::band{9, 0}}, relpos::sinks{3}},
          forty_ahead{}});
}

TEST(combined_masks, check_both) {
  EXPECT_STREQ((relpos::both{relpos::causal{}, relpos::band{-1, 0}}.check({}).message),
               "band: left is -1 and right is 0, must be 0 to 2^60");
  EXPECT_STREQ((relpos::either{relpos::sinks{-1}, relpos::causal{}}.check({}).message),
               "sinks: count is -1, must be 0 to 2^60");
}

}  // namespace
