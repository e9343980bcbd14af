// Tiles whose every weight is zero are left out, with no change in any bit, and no others.

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::half;
using relpos::index_t;
using support::attended;

/// ALiBi without an upper bound: no tile is skipped.
struct unbounded {
  relpos::alibi line;

  struct of_head {
    relpos::linear_bias line;
    template <class Real>
    constexpr Real bias(Real distance) const {
      return line.bias(distance);
    }
  };
  of_head bind(index_t head) const { return {line.bind(head)}; }
};

support::inputs<half> inputs_of(index_t queries, index_t keys) {
  return support::random_inputs<half>({.query_heads = 2,
                                       .key_heads = 2,
                                       .query_length = queries,
                                       .key_length = keys,
                                       .head_dim = 64,
                                       .value_dim = 64},
                                      3);
}

bool same_bits(const attended<float>& a, const attended<float>& b) {
  return support::same_bits(a.out, b.out) && support::same_bits(a.lse, b.lse);
}

TEST(far_tiles, are_left_out_without_a_trace) {
  for (const float steep : {0.5f, 50.0f}) {
    const std::vector<float> slopes{steep, steep / 16.0f};
    const relpos::alibi line{slopes};
    for (const index_t offset : {index_t{77}, index_t{1} << 40}) {
      const relpos::options opts{.key_offset = offset};
      const auto in = inputs_of(130, 400);
      EXPECT_TRUE(
          same_bits(support::attend_on_device<64>(in, opts, line, relpos::causal{}),
                    support::attend_on_device<64>(in, opts, unbounded{line}, relpos::causal{})))
          << steep << ", " << offset;
    }
  }
}

TEST(far_tiles, are_not_read) {
  const std::vector<float> slopes{2.0f, 2.0f};
  auto in = inputs_of(130, 600);
  const auto before =
      support::attend_on_device<64>(in, {}, relpos::alibi{slopes}, relpos::causal{});
  // Queries are at 470 and beyond. A tile that is not skipped would bring its NaN into the output.
  for (index_t head = 0; head < 2; ++head) {
    for (index_t row = 0; row < 128; ++row) {
      in.v(0, head, row, 0) = half(std::numeric_limits<float>::quiet_NaN());
    }
  }
  EXPECT_TRUE(same_bits(
      before, support::attend_on_device<64>(in, {}, relpos::alibi{slopes}, relpos::causal{})));
}

TEST(far_tiles, with_a_key_that_is_not_finite_are_looked_at) {
  const std::vector<float> slopes{2.0f, 2.0f};
  auto in = inputs_of(130, 600);
  in.k(0, 0, 3, 5) = half(std::numeric_limits<float>::quiet_NaN());
  const auto got = support::attend_on_device<64>(in, {}, relpos::alibi{slopes}, relpos::causal{});
  for (index_t row = 0; row < 130; ++row) {
    const float x = got.out(0, 0, row, 0);
    EXPECT_NE(x, x) << row;
    EXPECT_EQ(got.out(0, 1, row, 0), got.out(0, 1, row, 0)) << row;
  }
}

}  // namespace
