// Which calls share the kernels of a GPU: those whose policies differ in nothing that a kernel has
// as a type.

#include "relpos/cuda/lowered_policies.hpp"

#include <gtest/gtest.h>

#include <type_traits>

#include "relpos/policies.hpp"

namespace {

template <class... Policies>
using policies = relpos::lowered_policies<Policies...>;

template <class A, class B>
constexpr bool share = std::is_same_v<A, B>;

using relpos::alibi;
using relpos::band;
using relpos::causal;
using relpos::rotary;
using relpos::t5_bias;
using relpos::token_positions;

using wave = relpos::relative_bias<decltype([](relpos::index_t, relpos::index_t) { return 1.0; })>;
using other = relpos::relative_bias<decltype([](relpos::index_t, relpos::index_t) { return 2.0; })>;
using sinks_and_window = relpos::either<band, relpos::sinks>;

TEST(lowered_policies, masks_that_are_ranges_make_no_kernel) {
  EXPECT_TRUE((share<policies<>, policies<causal>>));
  EXPECT_TRUE((share<policies<alibi, causal>, policies<band, relpos::blockwise_causal, alibi>>));
}

TEST(lowered_policies, the_order_of_a_bias_and_other_policies_makes_no_kernel) {
  EXPECT_TRUE((share<policies<alibi, causal>, policies<causal, alibi>>));
  EXPECT_TRUE((share<policies<rotary, wave, sinks_and_window>,
                     policies<sinks_and_window, rotary, causal, wave>>));
  EXPECT_FALSE((share<policies<alibi, wave>, policies<wave, alibi>>));
}

TEST(lowered_policies, a_function_that_is_tabulated_makes_no_kernel) {
  EXPECT_TRUE((share<policies<wave>, policies<other>>));
  EXPECT_TRUE((share<policies<wave, causal>, policies<t5_bias>>));
  EXPECT_FALSE((share<policies<wave>, policies<alibi>>));
  EXPECT_TRUE((share<policies<relpos::gated_bias<wave>>, policies<relpos::gated_bias<other>>>));
  EXPECT_FALSE((share<policies<relpos::gated_bias<wave>>, policies<wave>>));
}

TEST(lowered_policies, temperatures_sinks_and_which_law_it_is_make_no_kernel) {
  EXPECT_TRUE((share<policies<alibi>, policies<alibi, relpos::temperature, relpos::sink_logits>>));
  EXPECT_TRUE((share<policies<relpos::log_n>, policies<causal, relpos::position_log>>));
  EXPECT_FALSE((share<policies<>, policies<relpos::log_n>>));
}

TEST(lowered_policies, positions_of_tokens_make_one_where_a_bias_reads_them) {
  // Rows are rotated before the kernel, and logit scaling is numbers.
  EXPECT_TRUE((share<policies<causal>, policies<rotary, causal, token_positions>>));
  EXPECT_TRUE(
      (share<policies<relpos::log_n>, policies<relpos::position_log, token_positions, causal>>));
  EXPECT_FALSE((share<policies<alibi>, policies<alibi, token_positions>>));
}

TEST(lowered_policies, masks_of_elements_make_one_each) {
  EXPECT_FALSE((share<policies<causal>, policies<sinks_and_window>>));
  EXPECT_FALSE(
      (share<policies<relpos::either<causal, relpos::sinks>>, policies<sinks_and_window>>));
  EXPECT_TRUE((share<policies<sinks_and_window>, policies<sinks_and_window, causal>>));
}

TEST(lowered_policies, only_biases_that_all_say_so_bound_the_scores) {
  EXPECT_TRUE((policies<alibi, causal>::bounds_scores));
  EXPECT_FALSE((policies<causal>::bounds_scores));
  EXPECT_FALSE((policies<alibi, wave>::bounds_scores));
  EXPECT_FALSE((policies<alibi, rotary>::bounds_scores));
  EXPECT_FALSE((policies<alibi, relpos::log_n>::bounds_scores));
  EXPECT_FALSE((policies<alibi, token_positions>::bounds_scores));
}

}  // namespace
