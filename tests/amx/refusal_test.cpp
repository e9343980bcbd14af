// A system that withholds AMX: a call that needs it is refused, another is not.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "amx/emulated_amx.hpp"
#include "relpos/attention.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::arithmetic_type;
using relpos::kernel_class;
using relpos::status;

struct refused_call {
  support::inputs<relpos::bfloat16> in;
  support::tensor<float> out;

  explicit refused_call(relpos::index_t rows)
      : in(support::random_inputs<relpos::bfloat16>({.batch = 1,
                                                     .query_heads = 1,
                                                     .key_heads = 1,
                                                     .query_length = rows,
                                                     .key_length = 20,
                                                     .head_dim = 8,
                                                     .value_dim = 8},
                                                    3)),
        out({1, 1, rows, 8}, -7.0f) {}

  std::size_t workspace_bytes(const relpos::options& opts) const {
    return relpos::workspace_bytes(relpos::serial(), in.q.view(), in.k.view(), in.v.view(), opts);
  }
  status run(const relpos::options& opts) {
    std::vector<std::byte> memory(1 << 20);
    return relpos::attention(relpos::serial(), memory, out.view(), in.q.view(), in.k.view(),
                             in.v.view(), opts);
  }
};

TEST(amx_refusal, of_prefill) {
  const support::withheld_amx withheld;
  refused_call call(20);
  const relpos::options opts{.kernel = kernel_class::prefill,
                             .arithmetic = arithmetic_type::bfloat16};
  const status done = call.run(opts);
  EXPECT_EQ(done.code, relpos::status_code::device);
  const std::string message = done.message;
  for (const char* part : {"options.arithmetic", "bfloat16", "AMX", "-mamx-tile"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
  for (const float x : call.out.values) EXPECT_EQ(x, -7.0f);
  EXPECT_EQ(call.workspace_bytes(opts), 0u);
}

TEST(amx_refusal, not_of_calls_that_need_no_tiles) {
  const support::withheld_amx withheld;
  EXPECT_TRUE(refused_call(20).run({.kernel = kernel_class::prefill}));
  EXPECT_TRUE(refused_call(20).run(
      {.kernel = kernel_class::decode, .arithmetic = arithmetic_type::bfloat16}));
  EXPECT_TRUE(refused_call(1).run({.arithmetic = arithmetic_type::bfloat16}));
}

TEST(amx_refusal, ends_with_its_cause) {
  const relpos::options opts{.kernel = kernel_class::prefill,
                             .arithmetic = arithmetic_type::bfloat16};
  refused_call call(20);
  {
    const support::withheld_amx withheld;
    EXPECT_FALSE(call.run(opts));
  }
  EXPECT_TRUE(call.run(opts));
}

}  // namespace
