// Attention over slices of the keys, merged, is attention over all of them.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <numeric>
#include <span>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::infinity;
using support::inputs;
using support::tensor;

const std::vector<float> slopes{0.1f, 0.004f};

struct state {
  tensor<float> out;
  tensor<float, 3> lse;

  state(std::array<index_t, 4> shape, float filled_with)
      : out(shape, filled_with), lse({shape[0], shape[1], shape[2]}, filled_with) {}

  relpos::partial_state view() { return {out.view(), lse.view()}; }
};

inputs<float> long_inputs() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = 60,
                                 .key_length = 333,
                                 .head_dim = 16,
                                 .value_dim = 6},
                                29);
}
constexpr std::array<index_t, 4> out_shape{2, 2, 60, 6};

/// The state of keys [first, last), in positions of the whole.
template <class... Policies>
state part(const inputs<float>& in, index_t first, index_t last, const Policies&... policies) {
  state result(out_shape, support::not_a_number);
  const auto k = in.k.view().slice(2, first, last - first);
  const auto v = in.v.view().slice(2, first, last - first);
  support::watched_memory memory(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), k, v, policies...));
  const relpos::status done = relpos::partial(
      relpos::serial{}, {memory.data(), memory.bytes()}, result.view(), in.q.view(), k, v,
      policies..., relpos::options{.query_offset = 333 - 60, .key_offset = first});
  EXPECT_TRUE(done) << done.message;
  return result;
}

/// Merges states of calls with these policies; sinks are given to the merge too.
template <class... Policies>
relpos::status merge_states(state& into, state& from, const Policies&... policies) {
  relpos::status done;
  const auto merge = [&](const auto&... sinks) {
    done = relpos::merge(relpos::serial{}, into.view(), from.view(), sinks...);
  };
  constexpr bool has_sinks = (relpos::has_sink<relpos::head_policy_of<Policies>> || ... || false);
  [[maybe_unused]] const auto merge_if_sinks = [&]<class Policy>(const Policy& policy) {
    if constexpr (relpos::has_sink<relpos::head_policy_of<Policy>>) merge(policy);
  };
  (merge_if_sinks(policies), ...);
  if (!has_sinks) merge();
  return done;
}

/// Cuts the keys at random, merges the parts in a random tree and compares with the whole.
template <class... Policies>
void expect_any_tree(const Policies&... policies) {
  const inputs<float> in = long_inputs();
  support::random_numbers random(31);
  for (const int cuts : {0, 1, 2, 5, 12}) {
    std::vector<index_t> ends{0, 333};
    for (int i = 0; i < cuts; ++i) ends.push_back(random.between(0, 333));
    ends.push_back(ends[static_cast<std::size_t>(random.between(0, cuts))]);  // one slice is empty
    std::sort(ends.begin(), ends.end());
    std::vector<state> states;
    for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
      states.push_back(part(in, ends[i], ends[i + 1], policies...));
    }
    while (states.size() > 1) {
      const auto a =
          static_cast<std::size_t>(random.between(0, static_cast<index_t>(states.size()) - 1));
      auto b = static_cast<std::size_t>(random.between(0, static_cast<index_t>(states.size()) - 2));
      b += b >= a ? 1 : 0;
      ASSERT_TRUE(merge_states(states[a], states[b], policies...));
      states.erase(states.begin() + static_cast<std::ptrdiff_t>(b));
    }
    expect_reference(support::attended<float>{states[0].out, states[0].lse}, in, {}, policies...);
  }
}

TEST(merge, any_tree_of_plain_slices) { expect_any_tree(); }

// Under a narrow band, some rows alone see most slices.
TEST(merge, any_tree_under_a_mask) { expect_any_tree(relpos::alibi{slopes}, relpos::band{37, 2}); }

TEST(merge, any_tree_with_sinks) {
  const std::vector<float> sinks{1.5f, -2.0f};
  expect_any_tree(relpos::sink_logits{sinks}, relpos::causal{});
  const auto of_rows = support::random_tensor({1, 2, 2, 60}, 3);
  expect_any_tree(
      relpos::row_sink_logits{relpos::view<const float, 3>(of_rows.values.data(), {2, 2, 60})},
      relpos::band{37, 2});
  // So large that they have most of the weight.
  const std::vector<float> large{7.0f, 8.0f};
  expect_any_tree(relpos::sink_logits{large});
}

TEST(merge, refuses_sinks_that_do_not_fit) {
  const inputs<float> in = long_inputs();
  state a = part(in, 0, 100);
  state b = part(in, 100, 333);
  const std::vector<float> three{1.0f, 1.0f, 1.0f};
  relpos::status done =
      relpos::merge(relpos::serial{}, a.view(), b.view(), relpos::sink_logits{three});
  EXPECT_EQ(done.code, relpos::status_code::invalid_shape) << done.message;
  const std::span<const float> inside(a.out.values.data(), 2);
  std::fill(a.out.values.begin(), a.out.values.begin() + 2, 0.0f);
  done = relpos::merge(relpos::serial{}, a.view(), b.view(), relpos::sink_logits{inside});
  EXPECT_EQ(done.code, relpos::status_code::overlap) << done.message;
  EXPECT_NE(std::strstr(done.message, "into.out"), nullptr) << done.message;
}

state filled(float out, float lse) {
  state result({1, 1, 2, 3}, out);
  for (float& value : result.lse.values) value = lse;
  return result;
}

bool same_state(const state& a, const state& b) {
  return support::same_bits(a.out, b.out) && support::same_bits(a.lse, b.lse);
}

TEST(merge, empty_changes_nothing) {
  const state full = filled(0.3f, 2.0f);
  state empty = filled(support::not_a_number, -infinity);  // out of an empty state is ignored
  state got = full;
  ASSERT_TRUE(relpos::merge(relpos::serial{}, got.view(), empty.view()));
  EXPECT_TRUE(same_state(got, full));

  state from = full;
  ASSERT_TRUE(relpos::merge(relpos::serial{}, empty.view(), from.view()));
  EXPECT_TRUE(same_state(empty, full));

  state none = filled(0.0f, -infinity);
  state other_none = none;
  ASSERT_TRUE(relpos::merge(relpos::serial{}, none.view(), other_none.view()));
  EXPECT_TRUE(same_state(none, filled(0.0f, -infinity)));
}

TEST(merge, weighs_by_natural_exponentials) {
  for (const float lse_a : {-200.0f, -3.0f, 0.0f, 1.5f, 1e4f}) {
    for (const float difference : {-300.0f, -20.0f, -1.0f, 0.0f, 0.25f, 5.0f, 40.0f, 1e5f}) {
      const float lse_b = lse_a + difference;
      state a = filled(1.0f, lse_a);
      state b = filled(-2.0f, lse_b);
      ASSERT_TRUE(relpos::merge(relpos::serial{}, a.view(), b.view()));
      const double gap = static_cast<double>(lse_b) - lse_a;
      const double weight_b = 1.0 / (1.0 + std::exp(-gap));
      const double lse = std::max(lse_a, lse_b) + std::log1p(std::exp(-std::abs(gap)));
      for (const float value : a.out.values) EXPECT_NEAR(value, 1.0 - 3.0 * weight_b, 1e-6);
      for (const float value : a.lse.values) {
        EXPECT_NEAR(value, lse, 1e-7 * std::max(1.0, std::abs(lse)));
      }
    }
  }
}

TEST(merge, on_any_executor_is_the_same) {
  const inputs<float> in = long_inputs();
  state serially = part(in, 0, 100);
  state threaded = serially;
  state from = part(in, 100, 200);
  ASSERT_TRUE(relpos::merge(relpos::serial{}, serially.view(), from.view()));
  ASSERT_TRUE(relpos::merge(support::threaded{}, threaded.view(), from.view()));
  EXPECT_TRUE(same_state(serially, threaded));
}

TEST(merge, a_state_that_overlaps_itself_is_refused) {
  std::vector<float> memory(100, 7.0f);
  const std::vector<float> before = memory;
  const relpos::view<float, 4> out(memory.data(), {1, 1, 2, 3});
  const relpos::partial_state into{out, relpos::view<float, 3>(memory.data() + 5, {1, 1, 2})};
  state from = filled(1.0f, 1.0f);
  const relpos::status done = relpos::merge(relpos::serial{}, into, from.view());
  EXPECT_EQ(done.code, relpos::status_code::overlap);
  EXPECT_NE(std::strstr(done.message, "into.lse [1, 1, 2] overlaps into.out [1, 1, 2, 3]"), nullptr)
      << done.message;
  EXPECT_EQ(memory, before);
}

TEST(merge, lse_of_equal_scores_is_the_logarithm_of_their_number) {
  inputs<float> in = long_inputs();
  for (float& value : in.q.values) value = 0.0f;
  for (const index_t count : {1, 2, 10, 333}) {
    for (const float lse : part(in, 0, count).lse.values) {
      EXPECT_NEAR(lse, std::log(static_cast<double>(count)), 1e-6);
    }
  }
}

TEST(merge, partial_wants_positions_of_the_whole) {
  const inputs<float> in = long_inputs();
  state result(out_shape, 7.0f);
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(), in.v.view()));
  const relpos::status refused = relpos::partial(relpos::serial{}, memory, result.view(),
                                                 in.q.view(), in.k.view(), in.v.view());
  EXPECT_FALSE(refused);
  EXPECT_NE(std::strstr(refused.message, "query_offset"), nullptr);
  EXPECT_TRUE(same_state(result, state(out_shape, 7.0f)));
}

}  // namespace
