// States of random pieces of the keys, merged in random trees: output, lse and statistics are those
// of the whole.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/closeness.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::collected;
using support::inputs;
using support::tensor;

constexpr index_t queries = 9;
constexpr index_t keys = 1500;
const std::vector<float> slopes{0.02f, 0.004f};

const inputs<float>& all_inputs() {
  static const inputs<float> in = support::random_inputs({.batch = 2,
                                                          .query_heads = 2,
                                                          .key_heads = 1,
                                                          .query_length = queries,
                                                          .key_length = keys,
                                                          .head_dim = 16,
                                                          .value_dim = 6},
                                                         61);
  return in;
}

struct state {
  tensor<float> out{{2, 2, queries, 6}, support::not_a_number};
  tensor<float, 3> lse{{2, 2, queries}, support::not_a_number};
  collected statistics{{2, 2, queries}};
  bool has_statistics = false;

  relpos::partial_state view() {
    relpos::partial_state result{out.view(), lse.view()};
    if (has_statistics) result.statistics = statistics.views();
    return result;
  }
};

/// The state of keys [first, last).
template <class... Policies>
state piece(index_t first, index_t last, const relpos::options& given, bool with_statistics,
            const Policies&... policies) {
  const inputs<float>& in = all_inputs();
  state result;
  result.has_statistics = with_statistics;
  relpos::options opts = given;
  opts.key_offset = first;
  const auto k = in.k.view().slice(2, first, last - first);
  const auto v = in.v.view().slice(2, first, last - first);
  relpos::options to_measure = opts;
  if (with_statistics) to_measure.statistics = result.statistics.views();
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial{}, in.q.view(), k, v, policies..., to_measure));
  const relpos::status done = relpos::partial(relpos::serial{}, memory, result.view(), in.q.view(),
                                              k, v, policies..., opts);
  EXPECT_TRUE(done) << done.message;
  return result;
}

/// A random cut into `count` pieces; beside others, empty ones.
std::vector<index_t> cut(index_t count, support::random_numbers& random) {
  std::vector<index_t> ends{0, keys};
  for (index_t i = 1; i < count; ++i) {
    ends.push_back(i % 4 == 3 ? ends.back() : random.between(0, keys));
  }
  std::sort(ends.begin(), ends.end());
  return ends;
}

/// Any two, in either order, until one is left.
state merge_all(std::vector<state> states, support::random_numbers& random) {
  while (states.size() > 1) {
    const auto pick = [&](std::size_t count) {
      return static_cast<std::size_t>(random.between(0, static_cast<index_t>(count) - 1));
    };
    std::swap(states[pick(states.size())], states.back());
    state from = std::move(states.back());
    states.pop_back();
    const relpos::status done =
        relpos::merge(relpos::serial{}, states[pick(states.size())].view(), from.view());
    EXPECT_TRUE(done) << done.message;
  }
  return std::move(states[0]);
}

template <class Real>
struct whole {
  tensor<Real> out{{2, 2, queries, 6}};
  tensor<Real, 3> lse{{2, 2, queries}};
  collected statistics{{2, 2, queries}};
};

template <class Real, class... Policies>
whole<Real> reference_of(relpos::options opts, const Policies&... policies) {
  whole<Real> result;
  opts.statistics = result.statistics.views();
  const inputs<float>& in = all_inputs();
  const relpos::status done =
      relpos::reference_attention(result.out.view(), result.lse.view(), in.q.view(), in.k.view(),
                                  in.v.view(), policies..., opts);
  EXPECT_TRUE(done) << done.message;
  return result;
}

template <class... Policies>
void expect_any_tree(const relpos::options& opts, const Policies&... policies) {
  const auto exact = reference_of<double>(opts, policies...);
  const auto naive = reference_of<float>(opts, policies...);
  // Each of up to 8 merges rounds what the pieces are weighed by.
  constexpr double merges = 8 * 4 * 0x1p-24;
  support::random_numbers random(71);
  for (index_t count = 1; count <= 9; ++count) {
    for (const bool with_statistics : {false, true}) {
      for (const kernel_class kernel : {kernel_class::decode, kernel_class::prefill}) {
        SCOPED_TRACE(testing::Message() << count << " pieces, kernel " << int(kernel)
                                        << (with_statistics ? ", with statistics" : ""));
        const std::vector<index_t> ends = cut(count, random);
        relpos::options of_piece = opts;
        of_piece.kernel = kernel;
        std::vector<state> states;
        for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
          states.push_back(piece(ends[i], ends[i + 1], of_piece, with_statistics, policies...));
        }
        ASSERT_EQ(states.size(), static_cast<std::size_t>(count));
        const state got = merge_all(std::move(states), random);
        const auto& out = exact.out.values;
        const auto& lse = exact.lse.values;
        support::expect_close(got.out.values, out,
                              support::float_tolerance(out, naive.out.values) + merges, "out");
        support::expect_close(got.lse.values, lse,
                              support::float_tolerance(lse, naive.lse.values, true) + 8 * merges,
                              "lse");
        if (!with_statistics) continue;
        const auto close = [&](const tensor<float, 3>& rows, const tensor<float, 3>& wanted,
                               double tolerance, const char* what) {
          const std::vector<double> of(wanted.values.begin(), wanted.values.end());
          support::expect_close(rows.values, of, tolerance, what);
        };
        close(got.statistics.max_probability, exact.statistics.max_probability, 1e-5, "largest");
        close(got.statistics.entropy, exact.statistics.entropy, 1e-4, "entropy");
        close(got.statistics.logit_count, exact.statistics.logit_count, 0.0, "count");
        close(got.statistics.logit_mean, exact.statistics.logit_mean, 1e-4, "mean");
        close(got.statistics.logit_variance, exact.statistics.logit_variance, 1e-3, "variance");
      }
    }
  }
}

TEST(merge_trees, of_plain_keys) { expect_any_tree({.query_offset = keys - queries}); }

TEST(merge_trees, of_a_bias_and_a_softcap) {
  expect_any_tree({.softcap = 4.0f, .query_offset = keys - queries}, relpos::alibi{slopes},
                  relpos::causal{});
}

// Most pieces are hidden from some rows or from all.
TEST(merge_trees, of_pieces_that_are_hidden) {
  expect_any_tree({.query_offset = 700}, relpos::band{35, 2});
}

TEST(merge_trees, of_rows_that_see_nothing_at_all) {
  // Rows 0 to 4 stand before the first key.
  expect_any_tree({.query_offset = -5}, relpos::causal{});
}

TEST(merge_trees, of_nothing_are_nothing) {
  support::random_numbers random(3);
  for (const kernel_class kernel : {kernel_class::decode, kernel_class::prefill}) {
    std::vector<state> states;
    for (const index_t end : {0, 0, 10, 700, 1500}) {
      const relpos::options before{.query_offset = -20, .kernel = kernel};
      states.push_back(piece(end / 2, end, before, true, relpos::causal{}));
    }
    const state got = merge_all(std::move(states), random);
    for (const float value : got.out.values) EXPECT_EQ(value, 0.0f);
    for (const float value : got.lse.values) EXPECT_EQ(value, -support::infinity);
    for (const float value : got.statistics.logit_count.values) EXPECT_EQ(value, 0.0f);
    for (const float value : got.statistics.entropy.values) EXPECT_EQ(value, 0.0f);
  }
}

}  // namespace
