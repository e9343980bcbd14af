// Products of bfloat16 save instructions, on no clock: half of them in the products, which are most
// of a call, less the rounding of weights and the pairs of values.

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "support/count_instructions.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::arithmetic_type;
using relpos::bfloat16;
using relpos::index_t;

/// The instructions of a call of one block of queries over `keys` keys.
std::optional<long> instructions(index_t keys, arithmetic_type arithmetic) {
  const auto in = support::random_inputs<bfloat16>(
      {.batch = 1,
       .query_heads = 1,
       .key_heads = 1,
       .query_length = relpos::geometry<relpos::native>::block_rows,
       .key_length = keys,
       .head_dim = 64,
       .value_dim = 64},
      3);
  support::tensor<float> out(in.q.shape);
  const relpos::options opts{.kernel = relpos::kernel_class::prefill, .arithmetic = arithmetic};
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial(), in.q.view(), in.k.view(), in.v.view(), opts));
  const auto call = [&] {
    return relpos::attention(relpos::serial(), memory, out.view(), in.q.view(), in.k.view(),
                             in.v.view(), opts);
  };
  const relpos::status done = call();
  EXPECT_TRUE(done) << done.message;
  return support::count_instructions([&] { (void)call(); });
}

/// The instructions of 32 keys.
std::optional<double> instructions_of_keys(arithmetic_type arithmetic) {
  const auto few = instructions(32, arithmetic);
  const auto more = instructions(64, arithmetic);
  if (!few || *few < 1000 || !more) return std::nullopt;
  return static_cast<double>(*more - *few);
}

TEST(bfloat16_instructions, of_keys) {
  if (!relpos::has_pair_products<relpos::native>) GTEST_SKIP() << "products are float32 here";
  const auto in_pairs = instructions_of_keys(arithmetic_type::bfloat16);
  const auto in_floats = instructions_of_keys(arithmetic_type::float32);
  if (!in_pairs || !in_floats) GTEST_SKIP() << "there is no way to count here";
  EXPECT_LT(*in_pairs, 0.62 * *in_floats);
}

}  // namespace
