// Statistics over slices of the keys, merged, are those over all of them.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::index_t;
using support::collected;
using support::inputs;
using support::meaning;
using support::tensor;

const inputs<float>& long_inputs() {
  static const inputs<float> in = support::random_inputs({.batch = 1,
                                                          .query_heads = 2,
                                                          .key_heads = 2,
                                                          .query_length = 40,
                                                          .key_length = 300,
                                                          .head_dim = 16,
                                                          .value_dim = 4},
                                                         41);
  return in;
}

struct state {
  tensor<float> out{{1, 2, 40, 4}, support::not_a_number};
  tensor<float, 3> lse{{1, 2, 40}, support::not_a_number};
  collected statistics{{1, 2, 40}};

  relpos::partial_state view() { return {out.view(), lse.view(), statistics.views()}; }
};

template <class... Policies>
state part(index_t first, index_t last, const Policies&... policies) {
  const inputs<float>& in = long_inputs();
  state result;
  const auto k = in.k.view().slice(2, first, last - first);
  const auto v = in.v.view().slice(2, first, last - first);
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), k, v, policies...));
  const relpos::status done =
      relpos::partial(relpos::serial{}, memory, result.view(), in.q.view(), k, v, policies...,
                      relpos::options{.query_offset = 260, .key_offset = first});
  EXPECT_TRUE(done) << done.message;
  return result;
}

template <class... Policies>
void expect_merged(const std::vector<index_t>& ends, const meaning& means,
                   const Policies&... policies) {
  state whole = part(ends[0], ends[1], policies...);
  for (std::size_t i = 1; i + 1 < ends.size(); ++i) {
    state next = part(ends[i], ends[i + 1], policies...);
    const relpos::status done = relpos::merge(relpos::serial{}, whole.view(), next.view());
    ASSERT_TRUE(done) << done.message;
  }
  expect_statistics(whole.statistics, naive_attention<double>(long_inputs(), means).statistics,
                    naive_attention<float>(long_inputs(), means).statistics);
}

TEST(merge_statistics, of_slices) {
  expect_merged({0, 300}, {});
  expect_merged({0, 128, 300}, {});
  expect_merged({0, 1, 7, 7, 130, 290, 300}, {});
}

/// The statistics count keys: a sink is no outcome.
TEST(merge_statistics, of_slices_beside_sinks) {
  const std::vector<float> logits{0.7f, 4.0f};
  const relpos::sink_logits sinks{logits};
  const meaning means{.sink = [&](index_t head) {
    return static_cast<double>(logits[static_cast<std::size_t>(head)]);
  }};
  state whole = part(0, 60, sinks);
  for (const index_t first : {60, 70, 200}) {
    state next = part(first, first == 60 ? 70 : first == 70 ? 200 : 300, sinks);
    ASSERT_TRUE(relpos::merge(relpos::serial{}, whole.view(), next.view(), sinks));
  }
  expect_statistics(whole.statistics, naive_attention<double>(long_inputs(), means).statistics,
                    naive_attention<float>(long_inputs(), means).statistics);
}

// Most slices are not seen by most rows.
TEST(merge_statistics, of_slices_under_a_band) {
  const meaning means{
      .visible = [](index_t, index_t q_pos, index_t k_pos) { return q_pos - 20 <= k_pos; }};
  expect_merged({0, 50, 100, 250, 270, 300}, means, relpos::band{20, 1000});
}

// Whatever the memory of an empty state holds.
TEST(merge_statistics, into_an_empty_state_are_those_of_the_other) {
  state empty;  // of NaN
  std::fill(empty.lse.values.begin(), empty.lse.values.end(), -support::infinity);
  state other = part(0, 300);
  ASSERT_TRUE(relpos::merge(relpos::serial{}, empty.view(), other.view()));
  EXPECT_TRUE(same_bits(empty.statistics.max_probability, other.statistics.max_probability));
  EXPECT_TRUE(same_bits(empty.statistics.entropy, other.statistics.entropy));
  EXPECT_TRUE(same_bits(empty.statistics.logit_count, other.statistics.logit_count));
  EXPECT_TRUE(same_bits(empty.statistics.logit_mean, other.statistics.logit_mean));
  EXPECT_TRUE(same_bits(empty.statistics.logit_variance, other.statistics.logit_variance));
}

std::string refusal(const relpos::partial_state& into, const relpos::partial_state& from) {
  const relpos::status done = relpos::merge(relpos::serial{}, into, from);
  EXPECT_FALSE(done);
  return done.message;
}

TEST(merge_statistics, refuses_what_it_cannot_merge) {
  state a = part(0, 100);
  state b = part(100, 300);
  const tensor<float, 3> before = a.statistics.entropy;
  relpos::partial_state into = a.view();
  relpos::partial_state from = b.view();
  from.statistics.entropy.reset();
  EXPECT_EQ(refusal(into, from),
            "from.statistics.entropy: is absent, but into.statistics.entropy is not");
  from = b.view();
  from.statistics.entropy->shape = {1, 2, 39};
  EXPECT_EQ(refusal(into, from), "statistics.entropy: shape is [1, 2, 39], must be [1, 2, 40]");
  from = b.view();
  into.statistics.logit_count.reset();
  EXPECT_NE(refusal(into, from).find("logit_mean merges with logit_count"), std::string::npos);
  into = a.view();
  into.statistics.logit_mean.reset();
  EXPECT_NE(refusal(into, from).find("one of them is absent"), std::string::npos);
  into = a.view();
  from.statistics.logit_count = into.statistics.entropy;
  EXPECT_NE(refusal(into, from).find("overlaps"), std::string::npos);
  EXPECT_TRUE(same_bits(a.statistics.entropy, before));

  from = b.view();
  into.statistics = {};  // nothing is wanted of the whole
  EXPECT_TRUE(relpos::merge(relpos::serial{}, into, from));
  EXPECT_TRUE(same_bits(a.statistics.entropy, before));
}

TEST(merge_statistics, are_not_options_of_partial) {
  state result;
  const inputs<float>& in = long_inputs();
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), in.k.view(), in.v.view()));
  const relpos::status done = relpos::partial(
      relpos::serial{}, memory, result.view(), in.q.view(), in.k.view(), in.v.view(),
      relpos::options{.statistics = {.entropy = result.statistics.entropy.view()},
                      .query_offset = 260});
  EXPECT_EQ(done.code, relpos::status_code::invalid_value);
  EXPECT_NE(std::strstr(done.message, "state.statistics"), nullptr);
}

}  // namespace
