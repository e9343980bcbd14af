#include "relpos/policy/on_axis.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "policy/placed_tokens.hpp"
#include "relpos/policies.hpp"
#include "support/both_kernels.hpp"

namespace {

using relpos::index_t;
using relpos::on_axis;
using support::expect_both_kernels;
using support::inputs;
using support::meaning;
using support::placed_tokens::is_causal;
using support::placed_tokens::placed;
using support::placed_tokens::random_call;
using support::placed_tokens::restless;
using support::placed_tokens::shape;
using support::placed_tokens::slopes;

double wave(index_t head, index_t distance) {
  return std::sin(0.07 * static_cast<double>(distance)) * static_cast<double>(head + 1);
}

struct distances {
  const placed& at;

  index_t of(index_t axis, index_t batch, index_t query, index_t key) const {
    const auto place = [&](const std::vector<index_t>& of, index_t row) {
      const auto rows = static_cast<index_t>(of.size()) / (at.axes * at.batch);
      return of[static_cast<std::size_t>((axis * at.batch + batch) * rows + row)];
    };
    return place(at.keys, key) - place(at.queries, query);
  }
};

TEST(on_axis, reads_the_distance_on_its_axis) {
  const placed at = restless(3, 2);
  const distances between{at};
  const relpos::relative_bias bias{wave};
  expect_both_kernels(random_call(), {},
                      at.placing({.element_bias =
                                      [&](index_t batch, index_t head, index_t query, index_t key) {
                                        return wave(head, between.of(2, batch, query, key));
                                      }}),
                      on_axis{2, bias}, at.policy());
}

/// Three biases, each on an axis of its own, beside a mask: tabulated, computed and mixed.
TEST(on_axis, beside_others) {
  const placed at = restless(3, 2);
  const distances between{at};
  const auto coefficients = support::random_tensor({2, 2, shape.query_length, 2}, 5);
  const std::vector<float> tables{0.5f, -1.0f, 0.25f, 0.0f, 1.0f, -0.5f};  // [1, 2 terms, -1 to 1]
  const relpos::mixed_bias mixed(coefficients.view(),
                                 relpos::view<const float, 3>(tables.data(), {1, 2, 3}), -1,
                                 relpos::table_ends::repeated);
  expect_both_kernels(
      random_call(), {},
      at.placing(
          {.element_bias =
               [&](index_t batch, index_t head, index_t query, index_t key) {
                 const auto slope = static_cast<double>(slopes[static_cast<std::size_t>(head)]);
                 const index_t third = between.of(2, batch, query, key);
                 const auto place = static_cast<std::size_t>(third < -1  ? 0
                                                             : third > 1 ? 2
                                                                         : third + 1);
                 double sum = wave(head, between.of(0, batch, query, key)) +
                              slope * static_cast<double>(between.of(1, batch, query, key));
                 for (index_t term = 0; term < 2; ++term) {
                   sum += static_cast<double>(coefficients(batch, head, query, term)) *
                          static_cast<double>(tables[static_cast<std::size_t>(term) * 3 + place]);
                 }
                 return sum;
               },
           .visible = is_causal}),
      relpos::relative_bias{wave}, on_axis{1, relpos::alibi{slopes}}, on_axis{2, mixed},
      relpos::causal{}, at.policy());
}

/// Without positions of tokens, all axes are the row's position.
TEST(on_axis, of_rows) {
  expect_both_kernels(random_call(), {}, {.bias = wave}, on_axis{1, relpos::relative_bias{wave}});
}

TEST(on_axis, refused) {
  const inputs<float> in = random_call();
  const placed at = restless(2, 2);
  const auto refusal = [&](const auto& policy) {
    support::tensor<float> out({2, 2, shape.query_length, 6});
    std::vector<std::byte> memory(1 << 22);
    return std::string(relpos::attention(relpos::serial{}, memory, out.view(), in.q.view(),
                                         in.k.view(), in.v.view(), policy, at.policy())
                           .message);
  };
  const relpos::relative_bias bias{wave};
  EXPECT_EQ(refusal(on_axis{2, bias}), "token_positions: have 2 axes, but a bias reads axis 2");
  EXPECT_EQ(refusal(on_axis{-1, bias}), "on_axis: axis is -1, must be 0 to 3");
  EXPECT_EQ(refusal(on_axis{4, bias}), "on_axis: axis is 4, must be 0 to 3");
  const std::vector<float> three{1.0f, 1.0f, 1.0f};
  EXPECT_NE(refusal(on_axis{1, relpos::alibi{three}}).find("alibi"), std::string::npos);
}

}  // namespace
