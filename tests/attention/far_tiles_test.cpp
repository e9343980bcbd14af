// Tiles whose every weight is exactly zero are left out, and nobody can tell from the result.

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;

/// A policy without its bound: no tile is ever left out.
template <class Policy>
struct without_bound {
  Policy policy;

  template <class Bound>
  struct head_bias {
    Bound bound;
    template <class Real>
    Real bias(Real distance) const {
      return bound.bias(distance);
    }
    template <class Real>
    Real add_to(Real score, Real distance) const
      requires requires(const Bound& of) { of.add_to(score, distance); }
    {
      return bound.add_to(score, distance);
    }
    head_bias scaled(float factor) const { return {bound.scaled(factor)}; }
  };
  auto bind(index_t head) const {
    using bound = decltype(policy.bind(head));
    return head_bias<bound>{policy.bind(head)};
  }
};
template <class Policy>
without_bound(Policy) -> without_bound<Policy>;
static_assert(relpos::bounds_bias<relpos::head_policy_of<relpos::alibi>>);
static_assert(!relpos::bounds_bias<relpos::head_policy_of<without_bound<relpos::alibi>>>);

// Steep to nearly flat, and one that rewards distance.
const std::vector<float> slopes{8.0f, 1.0f, 0.25f, 0.03f, 0.002f, -0.05f};
constexpr index_t length = 1500;
constexpr index_t queries = 250;

inputs<float> long_inputs(float spread = 3.0f) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 6,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = length,
                                 .head_dim = 8,
                                 .value_dim = 4},
                                17, spread);
}

/// Equal bits, except that one NaN is as good as another.
void expect_same(const attended<float>& got, const attended<float>& expected) {
  const auto same = [](float a, float b) {
    return std::isnan(a) ? std::isnan(b) : std::bit_cast<int>(a) == std::bit_cast<int>(b);
  };
  for (std::size_t i = 0; i < got.out.values.size(); ++i) {
    ASSERT_TRUE(same(got.out.values[i], expected.out.values[i])) << "out, element " << i;
  }
  for (std::size_t i = 0; i < got.lse.values.size(); ++i) {
    ASSERT_TRUE(same(got.lse.values[i], expected.lse.values[i])) << "lse, element " << i;
  }
}

template <class... Policies>
attended<float> expect_no_difference(const inputs<float>& in, const relpos::options& opts,
                                     const Policies&... policies) {
  const attended<float> got = attend(in, opts, relpos::alibi{slopes}, policies...);
  expect_same(got, attend(in, opts, without_bound{relpos::alibi{slopes}}, policies...));
  return got;
}

TEST(far_tiles, leave_no_trace) {
  const inputs<float> in = long_inputs();
  expect_no_difference(in, {}, relpos::causal{});
  expect_no_difference(in, {.softcap = 3.0f}, relpos::causal{});
  expect_no_difference(in, {.query_offset = 700 + 5, .key_offset = 61}, relpos::causal{});
  expect_no_difference(in, {.query_offset = 700});
  expect_no_difference(in, {.softcap = 50.0f, .query_offset = 700});
}

// Scores that outweigh a far bias: single keys, a hundred times as long as the others.
TEST(far_tiles, long_keys_are_never_left_out) {
  inputs<float> in = long_inputs();
  support::random_numbers random(3);
  for (int i = 0; i < 6; ++i) {
    const index_t row = random.between(0, length - 1);
    for (index_t c = 0; c < 8; ++c) in.k(0, i % 2, row, c) *= 100.0f;
  }
  expect_no_difference(in, {}, relpos::causal{});
  expect_no_difference(in, {.query_offset = 700});
}

/// One channel and positive numbers, so that |q| |k| is the score itself and the bound is tight;
/// values that are huge far from the queries, so that the smallest weight there shows.
inputs<float> revealing_inputs(index_t first_near_key, index_t last_near_key) {
  inputs<float> in = support::random_inputs({.batch = 1,
                                             .query_heads = 6,
                                             .key_heads = 1,
                                             .query_length = queries,
                                             .key_length = length,
                                             .head_dim = 1,
                                             .value_dim = 1},
                                            19, 0.5f);
  for (float& value : in.q.values) value += 1.0f;
  for (float& value : in.k.values) value = 0.5f * value + 0.5f;
  for (index_t key = 0; key < length; ++key) {
    const bool near = first_near_key <= key && key < last_near_key;
    in.v(0, 0, key, 0) = near ? 1e-5f : 1e34f;
  }
  return in;
}

/// Slopes in small steps move the last tile that counts over the cliff of the exponential.
template <class Expect>
void for_many_slopes(Expect expect) {
  for (float slope = 0.04f; slope < 0.6f; slope *= 1.19f) {
    std::vector<float> steps;
    for (float step = slope; steps.size() < 6; step *= 1.03f) steps.push_back(step);
    expect(steps);
  }
}

TEST(far_tiles, at_the_edge_of_vanishing) {
  inputs<float> in = revealing_inputs(1100, length);
  for (const float softcap : {0.0f, 50.0f}) {
    // Past the softcap every 128th score is exactly the softcap.
    for (index_t key = 77; softcap > 0.0f && key < length; key += 128) in.k(0, 0, key, 0) = 2000.0f;
    const relpos::options opts{.scale = 1.0f, .softcap = softcap};
    for_many_slopes([&](const std::vector<float>& steps) {
      expect_same(attend(in, opts, relpos::alibi{steps}, relpos::causal{}),
                  attend(in, opts, without_bound{relpos::alibi{steps}}, relpos::causal{}));
    });
  }
}

// Later keys come first. One that outweighs its distance leaves the keys between in question, most
// of all for the last queries, which are nearest to them and score it least.
TEST(far_tiles, at_the_edge_after_the_queries) {
  inputs<float> in = revealing_inputs(0, 0);
  in.v(0, 0, length - 1, 0) = 1e-5f;
  for (index_t h = 0; h < 6; ++h) {
    for (index_t row = 0; row < queries; ++row) {
      in.q(0, h, row, 0) = 1.0f - 0.3f * static_cast<float>(row) / queries;
    }
  }
  for_many_slopes([&](const std::vector<float>& steps) {
    in.k(0, 0, length - 1, 0) = steps[0] * static_cast<float>(length) + 80.0f;
    const relpos::options opts{.scale = 1.0f, .query_offset = 0};
    expect_same(attend(in, opts, relpos::alibi_symmetric{steps}),
                attend(in, opts, without_bound{relpos::alibi_symmetric{steps}}));
    expect_same(attend(in, opts, relpos::alibi_offset{steps}),
                attend(in, opts, without_bound{relpos::alibi_offset{steps}}));
  });
}

// A key that is not finite has no bound: it reaches the rows that see it.
TEST(far_tiles, unfinite_keys_are_never_left_out) {
  for (const float poison : {support::not_a_number, support::infinity, -support::infinity, 3e38f}) {
    inputs<float> in = long_inputs();
    in.k(0, 0, 100, 3) = poison;
    in.k(0, 1, 900, 0) = poison;
    for (const float softcap : {0.0f, 20.0f}) {
      const attended<float> got = expect_no_difference(in, {.softcap = softcap}, relpos::causal{});
      if (!std::isnan(poison)) continue;
      for (index_t row = 0; row < queries; ++row) {
        EXPECT_TRUE(std::isnan(got.lse(0, 0, row)) && std::isnan(got.lse(0, 5, row)));
      }
    }
  }
}

TEST(far_tiles, unfinite_queries_and_slopes) {
  for (const float poison : {support::not_a_number, support::infinity, -support::infinity}) {
    inputs<float> in = long_inputs();
    in.q(0, 0, 70, 3) = poison;
    in.q(0, 3, queries - 1, 0) = poison;
    expect_no_difference(in, {}, relpos::causal{});

    std::vector<float> poisoned = slopes;
    poisoned[1] = poison;
    expect_same(
        attend(long_inputs(), {}, relpos::alibi{poisoned}, relpos::causal{}),
        attend(long_inputs(), {}, without_bound{relpos::alibi{poisoned}}, relpos::causal{}));
  }
}

/// Counts the vectors of biases that are computed.
template <bool Bounds>
struct counted_line {
  float slope;
  index_t* vectors;

  template <class Real>
  Real bias(Real distance) const {
    ++*vectors;
    return slope * distance;
  }
  float upper_bound(index_t, index_t last) const
    requires Bounds
  {
    return slope * static_cast<float>(last);
  }
};

TEST(far_tiles, are_not_computed) {
  const inputs<float> in = long_inputs();
  index_t with_bound = 0;
  index_t without = 0;
  const attended<float> skipped =
      attend(in, {}, counted_line<true>{2.0f, &with_bound}, relpos::causal{});
  const attended<float> computed =
      attend(in, {}, counted_line<false>{2.0f, &without}, relpos::causal{});
  expect_same(skipped, computed);
  // At slope 2 the weights of keys 100 positions away vanish, of 1500.
  EXPECT_LT(with_bound * 4, without);
  EXPECT_GT(with_bound, 0);
}

// Full tiles multiply every value by its weight, so a value that is not a number would show.
TEST(far_tiles, of_alibi_are_not_read) {
  inputs<float> in = long_inputs();
  const std::vector<float> steep(6, 2.0f);
  for (index_t row = 0; row < 800; ++row) {
    for (index_t h = 0; h < 2; ++h) in.v(0, h, row, 0) = support::not_a_number;
  }
  const attended<float> skipped = attend(in, {}, relpos::alibi{steep}, relpos::causal{});
  const attended<float> computed =
      attend(in, {}, without_bound{relpos::alibi{steep}}, relpos::causal{});
  for (index_t h = 0; h < 6; ++h) {
    for (index_t row = 0; row < queries; ++row) {
      EXPECT_FALSE(std::isnan(skipped.out(0, h, row, 0)));
      EXPECT_TRUE(std::isnan(computed.out(0, h, row, 0)));
    }
  }
}

}  // namespace
