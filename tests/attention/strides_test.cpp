// Any layout is a choice of strides, and changes no bit of the result.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/layouts.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::sizes;
using support::strides_of;
using support::tensor;

const std::vector<float> slopes{0.3f, 0.02f, 0.11f, -0.04f};
constexpr sizes shape{.batch = 2,
                      .query_heads = 4,
                      .key_heads = 2,
                      .query_length = 37,
                      .key_length = 141,
                      .head_dim = 20,
                      .value_dim = 9};

template <class T>
class strides : public testing::Test {
 public:
  inputs<T> in = support::random_inputs<T>(shape, 5);

  template <class Query, class Key, class Value>
  static support::attended<float> attend_views(const Query& q, const Key& k, const Value& v) {
    return support::attend(q.view(), k.view(), v.view(), {}, relpos::alibi{slopes},
                           relpos::causal{});
  }
  support::attended<float> expected() const {
    const inputs<T>& read = in;
    return attend_views(read.q, read.k, read.v);
  }
  /// The same call with all three in a layout.
  template <class Strides>
  void expect_layout(Strides of) const {
    const auto q = lay_out(in.q, of(in.q.shape));
    const auto k = lay_out(in.k, of(in.k.shape));
    const auto v = lay_out(in.v, of(in.v.shape));
    EXPECT_TRUE(same_bits(attend_views(q, k, v), expected()));
  }
};

using element_types = testing::Types<float, relpos::bfloat16, relpos::half>;
TYPED_TEST_SUITE(strides, element_types);

TYPED_TEST(strides, every_order_of_axes) {
  std::array<std::size_t, 4> order{0, 1, 2, 3};
  do {
    this->expect_layout([&](const auto& of) { return strides_of(of, order); });
  } while (std::next_permutation(order.begin(), order.end()));
}

TYPED_TEST(strides, rows_with_padding) {
  this->expect_layout([](const auto& of) { return strides_of(of, {0, 2, 1, 3}, 1, 5); });
}

TYPED_TEST(strides, every_other_channel) {
  this->expect_layout([](const auto& of) { return strides_of(of, {0, 1, 2, 3}, 2); });
}

TYPED_TEST(strides, backwards_along_each_axis) {
  for (std::size_t axis = 0; axis < 4; ++axis) {
    this->expect_layout([axis](const auto& of) {
      auto result = strides_of(of, {0, 1, 2, 3});
      result[axis] = -result[axis];
      return result;
    });
  }
}

TYPED_TEST(strides, zero_repeats_an_element) {
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto broadcast = [axis](const tensor<TypeParam>& from) {
      auto of = strides_of(from.shape, {0, 1, 2, 3});
      of[axis] = 0;
      return lay_out(from, of);
    };
    const auto q = broadcast(this->in.q);
    const auto k = broadcast(this->in.k);
    const auto v = broadcast(this->in.v);
    const tensor<TypeParam> all_q = contiguous(q);
    const tensor<TypeParam> all_k = contiguous(k);
    const tensor<TypeParam> all_v = contiguous(v);
    EXPECT_TRUE(same_bits(this->attend_views(q, k, v), this->attend_views(all_q, all_k, all_v)))
        << "axis " << axis;
  }
}

TYPED_TEST(strides, packed_qkv) {
  // [batch, position, q | k | v, head, channel] with as many key heads and value channels as q has.
  constexpr sizes same{.batch = 2,
                       .query_heads = 4,
                       .key_heads = 4,
                       .query_length = 40,
                       .key_length = 40,
                       .head_dim = 12,
                       .value_dim = 12};
  const inputs<TypeParam> separate = support::random_inputs<TypeParam>(same, 6);
  tensor<TypeParam, 5> packed({2, 40, 3, 4, 12});
  for (index_t b = 0; b < 2; ++b) {
    for (index_t h = 0; h < 4; ++h) {
      for (index_t row = 0; row < 40; ++row) {
        for (index_t c = 0; c < 12; ++c) {
          packed(b, row, 0, h, c) = separate.q(b, h, row, c);
          packed(b, row, 1, h, c) = separate.k(b, h, row, c);
          packed(b, row, 2, h, c) = separate.v(b, h, row, c);
        }
      }
    }
  }
  const auto part = [&](index_t which) {
    return relpos::view<const TypeParam, 4>(&packed(0, 0, which, 0, 0), {2, 4, 40, 12},
                                            {40 * 144, 12, 144, 1});
  };
  EXPECT_TRUE(same_bits(
      support::attend(part(0), part(1), part(2), {}, relpos::alibi{slopes}, relpos::causal{}),
      this->attend_views(separate.q, separate.k, separate.v)));
}

// Whatever lies between the elements of an output is the caller's.
TYPED_TEST(strides, outputs_of_any_layout_touch_nothing_else) {
  const auto expected = this->expected();
  const std::array<index_t, 4> out_shape = expected.out.shape;
  std::array<std::array<index_t, 4>, 3> layouts{strides_of(out_shape, {0, 2, 1, 3}),
                                                strides_of(out_shape, {3, 0, 2, 1}),
                                                strides_of(out_shape, {0, 1, 2, 3}, 3, 4)};
  layouts[2][2] = -layouts[2][2];
  for (const auto& layout : layouts) {
    support::laid_out<float> out(out_shape, layout);
    support::laid_out<float, 3> lse({2, 4, 37}, {37 * 4 * 2, 2, 4 * 2});
    const inputs<TypeParam>& read = this->in;
    support::watched_memory memory(
        relpos::workspace_bytes(relpos::serial{}, read.q.view(), read.k.view(), read.v.view(),
                                relpos::alibi{slopes}, relpos::causal{}));
    ASSERT_TRUE(relpos::attention(relpos::serial{}, {memory.data(), memory.bytes()}, out.view(),
                                  read.q.view(), read.k.view(), read.v.view(),
                                  relpos::alibi{slopes}, relpos::causal{},
                                  relpos::options{.lse = lse.view()}));
    std::size_t equal = 0;
    for (index_t b = 0; b < 2; ++b) {
      for (index_t h = 0; h < 4; ++h) {
        for (index_t row = 0; row < 37; ++row) {
          for (index_t c = 0; c < 9; ++c) {
            equal += out.view()(b, h, row, c) == expected.out(b, h, row, c) ? 1 : 0;
          }
          EXPECT_EQ(lse.view()(b, h, row), expected.lse(b, h, row));
        }
      }
    }
    EXPECT_EQ(equal, expected.out.values.size());
    const auto written = [](const auto& values) {
      return std::count_if(values.begin(), values.end(), [](float x) { return !std::isnan(x); });
    };
    EXPECT_EQ(written(out.memory), static_cast<std::ptrdiff_t>(expected.out.values.size()));
    EXPECT_EQ(written(lse.memory), static_cast<std::ptrdiff_t>(expected.lse.values.size()));
  }
}

}  // namespace
