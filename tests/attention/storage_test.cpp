// q, k, v and out in 16 bits: the same numbers as float, rounded once on the way out.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/floating_point_modes.hpp"
#include "support/layouts.hpp"
#include "support/reference.hpp"

namespace {

using relpos::bfloat16;
using relpos::half;
using support::index_t;
using support::random_tensor;
using support::sizes;
using support::tensor;

const std::vector<float> slopes{0.3f, 0.02f, 0.11f, -0.04f};

constexpr sizes shapes[] = {{.batch = 2,
                             .query_heads = 4,
                             .key_heads = 2,
                             .query_length = 35,
                             .key_length = 150,
                             .head_dim = 64,
                             .value_dim = 64},
                            {.batch = 1,
                             .query_heads = 4,
                             .key_heads = 1,
                             .query_length = 130,
                             .key_length = 131,
                             .head_dim = 19,
                             .value_dim = 37},
                            {.batch = 1,
                             .query_heads = 4,
                             .key_heads = 4,
                             .query_length = 3,
                             .key_length = 2,
                             .head_dim = 1,
                             .value_dim = 1}};

template <class Query, class Key, class Value, class Out>
void expect_stored() {
  for (const sizes& of : shapes) {
    const auto q =
        random_tensor<Query>({of.batch, of.query_heads, of.query_length, of.head_dim}, 1, 3.0f);
    const auto k = random_tensor<Key>({of.batch, of.key_heads, of.key_length, of.head_dim}, 2);
    const auto v = random_tensor<Value>({of.batch, of.key_heads, of.key_length, of.value_dim}, 3);
    const auto& read_q = q;
    const auto& read_k = k;
    const auto& read_v = v;
    const relpos::alibi bias{slopes};
    const auto got = support::attend<relpos::native, Out>(
        read_q.view(), read_k.view(), read_v.view(), {}, bias, relpos::causal{});
    support::expect_reference(got, read_q.view(), read_k.view(), read_v.view(), {}, bias,
                              relpos::causal{});
  }
}

TEST(storage, all_bfloat16) { expect_stored<bfloat16, bfloat16, bfloat16, bfloat16>(); }
TEST(storage, all_half) { expect_stored<half, half, half, half>(); }
TEST(storage, sixteen_bits_in_float_out) { expect_stored<half, half, bfloat16, float>(); }
TEST(storage, float_in_sixteen_bits_out) { expect_stored<float, float, float, bfloat16>(); }
TEST(storage, each_its_own) { expect_stored<float, bfloat16, half, half>(); }

TEST(storage, sixteen_bits_rotated) {
  const relpos::rotary_table xpos(relpos::xpos_frequencies(18), relpos::pair_layout::interleaved);
  const auto q = random_tensor<bfloat16>({1, 4, 130, 19}, 1, 3.0f);
  const auto k = random_tensor<half>({1, 2, 700, 19}, 2);
  const auto v = random_tensor<half>({1, 2, 700, 5}, 3);
  const auto read = [](const auto& of) { return of.view(); };
  const auto got = support::attend(read(q), read(k), read(v), {}, relpos::rotary{xpos},
                                   relpos::alibi{slopes}, relpos::causal{});
  support::expect_reference(got, read(q), read(k), read(v), {}, relpos::rotary{xpos},
                            relpos::alibi{slopes}, relpos::causal{});
}

TEST(storage, out_is_the_float_result_rounded) {
  const auto in = support::random_inputs(shapes[0], 9);
  const auto whole = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  const auto rounded =
      support::attend<relpos::native, bfloat16>(in, {}, relpos::alibi{slopes}, relpos::causal{});
  for (std::size_t i = 0; i < whole.out.values.size(); ++i) {
    ASSERT_EQ(rounded.out.values[i].bits, bfloat16(whole.out.values[i]).bits);
  }
  EXPECT_TRUE(same_bits(whole.lse, rounded.lse));
}

// Subnormal halves are ordinary floats, whichever channels are read by vectors and whichever one by
// one. The mean of equal values is that value, whatever the weights.
TEST(storage, small_halves_in_every_floating_point_mode) {
  for (const float size : {3e-7f, 3e-5f, -4e-6f, 1e-3f}) {
    for (const index_t rows : {index_t{1}, index_t{40}}) {
      const auto q = random_tensor<half>({1, 4, rows, 20}, 1);
      const auto k = random_tensor<half>({1, 2, 40, 20}, 2);
      const tensor<half> v({1, 2, 40, 20}, half(size));
      const auto spread_k = support::lay_out(k, {1, 1600, 40, 2});
      const auto spread_v = support::lay_out(v, {1, 2400, 60, 3});
      for (const support::floating_point_mode& mode : support::floating_point_modes) {
        const auto expect_mean = [&](const auto& keys, const auto& values) {
          support::attended<half> got;
          support::in_mode(mode, [&] {
            got = support::attend<relpos::native, half>(q.view(), keys.view(), values.view(), {},
                                                        relpos::alibi{slopes}, relpos::causal{});
          });
          for (const half& x : got.out.values) ASSERT_EQ(x.bits, half(size).bits) << mode.name;
        };
        expect_mean(k, v);
        expect_mean(spread_k, spread_v);
      }
    }
  }
}

}  // namespace
