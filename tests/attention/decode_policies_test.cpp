// Decode, by name, with every stage of a policy.

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;
using support::tensor;

constexpr index_t heads = 4;
const std::vector<float> slopes{0.03f, 0.004f, 0.005f, 0.0f};
const std::vector<float> table = support::random_tensor({1, 1, 32, heads}, 3, 2.0f).values;

inputs<float> inputs_of(index_t queries, index_t keys) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = heads,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 24,
                                 .value_dim = 7},
                                static_cast<std::uint32_t>(7 * queries + keys));
}

/// For several shapes, policies_of(shape, use) calls use(policies...). They share a tolerance: of a
/// few outputs the naive error may be small by chance.
template <class PoliciesOf>
void expect_policies(const relpos::options& given, const PoliciesOf& policies_of) {
  relpos::options opts = given;
  opts.kernel = kernel_class::decode;
  std::vector<float> got_out, got_lse, naive_out, naive_lse;
  std::vector<double> exact_out, exact_lse;
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  for (const index_t keys : {1, 2, 15, 16, 17, 127, 129, 1023, 1025, 2500}) {
    for (const index_t queries : {1, 2, 9}) {
      const inputs<float> in = inputs_of(queries, keys);
      const relpos::attention_shape shape{2, heads, 2, queries, keys, 24, 7};
      policies_of(shape, [&](const auto&... policies) {
        const auto got = attend(in, opts, policies...);
        append(got_out, got.out.values);
        append(got_lse, got.lse.values);
        const auto refer = [&](auto& all_out, auto& all_lse) {
          std::remove_reference_t<decltype(all_out)> out, lse;
          support::run_reference(out, lse, in.q.view(), in.k.view(), in.v.view(), opts,
                                 policies...);
          append(all_out, out);
          append(all_lse, lse);
        };
        refer(exact_out, exact_lse);
        refer(naive_out, naive_lse);
      });
    }
  }
  support::expect_close(got_out, exact_out, support::float_tolerance(exact_out, naive_out), "out");
  support::expect_close(got_lse, exact_lse, support::float_tolerance(exact_lse, naive_lse, true),
                        "lse");
}

TEST(decode_policies, computed_bias_sink_and_temperature) {
  const std::vector<float> sinks{1.0f, -2.0f, -support::infinity, 4.0f};
  const auto policies = [&](const auto&, const auto& use) {
    use(relpos::alibi{slopes}, relpos::causal{}, relpos::sink_logits{sinks},
        relpos::temperature{0.7});
  };
  expect_policies({}, policies);
  expect_policies({.scale = 0.3f, .softcap = 2.0f}, policies);
  expect_policies({.query_offset = 700, .key_offset = 300}, policies);
  expect_policies({.softcap = 30.0f, .query_offset = -4, .key_offset = -1}, policies);
}

TEST(decode_policies, gated_table_rotation_and_band) {
  const relpos::rotary_table rope(relpos::rope_frequencies(16), relpos::pair_layout::interleaved);
  const auto policies = [&](const relpos::attention_shape& shape, const auto& use) {
    tensor<float, 3> gates({2, heads, shape.query_length});
    support::random_numbers random(2);
    for (float& gate : gates.values) gate = 2.0f * random.uniform();
    const relpos::relative_bias wave{[](index_t head, index_t distance) {
      return std::sin(0.37 * static_cast<double>(distance)) * static_cast<double>(head + 1);
    }};
    use(relpos::rotary{rope}, relpos::gated_bias{std::as_const(gates).view(), wave},
        relpos::band{1100, 2});
  };
  expect_policies({}, policies);
  expect_policies({.softcap = 3.0f, .query_offset = 1500, .key_offset = 470}, policies);
}

TEST(decode_policies, mixed_tables) {
  const auto policies = [&](const relpos::attention_shape& shape, const auto& use) {
    const auto coefficients = support::random_tensor({2, heads, shape.query_length, 5}, 3);
    const auto tables = support::random_tensor({1, heads, 5, 300}, 4);
    use(relpos::mixed_bias{coefficients.view(),
                           relpos::view<const float, 3>(tables.values.data(), {heads, 5, 300}),
                           -290},
        relpos::causal{});
  };
  expect_policies({}, policies);
  expect_policies({.softcap = 3.0f, .query_offset = 1500, .key_offset = 470}, policies);
}

TEST(decode_policies, matrix_and_sinks_beside_a_band) {
  const auto policies = [](const relpos::attention_shape& shape, const auto& use) {
    tensor<float> matrix =
        support::random_tensor({2, heads, shape.query_length, shape.key_length}, 5, 4.0f);
    for (std::size_t i = 0; i < matrix.values.size(); i += 7) {
      matrix.values[i] = -support::infinity;
    }
    use(relpos::additive_bias{std::as_const(matrix).view()},
        relpos::either{relpos::band{150, 0}, relpos::sinks{3}}, relpos::causal{});
  };
  expect_policies({}, policies);
  expect_policies({.softcap = 5.0f}, policies);
}

TEST(decode_policies, positions_of_tokens) {
  const relpos::rotary_table rope(relpos::rope_frequencies(24), relpos::pair_layout::half_split);
  expect_policies({}, [&](const relpos::attention_shape& shape, const auto& use) {
    tensor<index_t, 2> of_queries({2, shape.query_length});
    tensor<index_t, 2> of_keys({2, shape.key_length});
    support::random_numbers random(9);
    // In any order, no further apart than that many rows can be.
    for (index_t& position : of_queries.values) {
      position = 2000 + random.between(1, shape.query_length);
    }
    for (index_t& position : of_keys.values) position = 900 + random.between(1, shape.key_length);
    use(relpos::token_positions{std::as_const(of_queries).view(), std::as_const(of_keys).view()},
        relpos::rotary{rope}, relpos::t5_bias{table, relpos::bidirectional}, relpos::alibi{slopes},
        relpos::causal{});
  });
}

TEST(decode_policies, logit_scaling) {
  const auto policies = [&](const auto&, const auto& use) {
    use(relpos::log_n{100}, relpos::alibi{slopes}, relpos::band{1500, 1});
  };
  expect_policies({}, policies);
  expect_policies({.query_offset = 1300}, policies);
}

/// Every fifth distance, for even queries and up to 3000: others see nothing.
struct every_fifth {
  bool keep(index_t q_pos, index_t k_pos) const {
    return q_pos % 2 == 0 && q_pos < 3000 && (q_pos - k_pos) % 5 == 0;
  }
};

TEST(decode_policies, element_mask_of_a_user) {
  const auto policies = [](const auto&, const auto& use) { use(every_fifth{}, relpos::causal{}); };
  expect_policies({}, policies);
  expect_policies({.query_offset = 2996, .key_offset = 1100}, policies);
}

TEST(decode_policies, rows_that_see_nothing_give_zero_or_their_sink) {
  const std::vector<float> sinks{1.0f, -2.0f, -support::infinity, 4.0f};
  for (const index_t keys : {0, 1, 129, 2500}) {
    const inputs<float> in = inputs_of(3, keys);
    // All keys come after all queries.
    const relpos::options opts{.query_offset = -5, .kernel = kernel_class::decode};
    const attended<float> none = attend(in, opts, relpos::causal{});
    const attended<float> sink = attend(in, opts, relpos::causal{}, relpos::sink_logits{sinks});
    for (const float value : none.out.values) EXPECT_EQ(value, 0.0f);
    for (const float value : sink.out.values) EXPECT_EQ(value, 0.0f);
    for (const float value : none.lse.values) EXPECT_EQ(value, -support::infinity);
    for (index_t b = 0; b < 2; ++b) {
      for (index_t h = 0; h < heads; ++h) {
        for (index_t row = 0; row < 3; ++row) {
          const float logit = sinks[static_cast<std::size_t>(h)];
          if (std::isinf(logit)) {
            EXPECT_EQ(sink.lse(b, h, row), logit);
          } else {
            EXPECT_NEAR(sink.lse(b, h, row), logit, 1e-6);
          }
        }
      }
    }
  }
}

// Poisoned elements between visible ones, of a row alone and beside one that sees nothing; channels
// of any number, and those that are read in place.
TEST(decode_policies, what_an_element_mask_hides_has_no_influence) {
  constexpr index_t channels[][2] = {{24, 7}, {64, 64}, {128, 128}};
  for (const auto& [head_dim, value_dim] : channels) {
    for (const index_t rows : {1, 2}) {
      const inputs<float> clean = support::random_inputs({.batch = 1,
                                                          .query_heads = rows,
                                                          .key_heads = 1,
                                                          .query_length = rows,
                                                          .key_length = 1201,
                                                          .head_dim = head_dim,
                                                          .value_dim = value_dim},
                                                         23);
      const relpos::options opts{.kernel = kernel_class::decode};
      const attended<float> expected = attend(clean, opts, every_fifth{}, relpos::causal{});
      for (const float poison : {support::not_a_number, support::infinity, -support::infinity}) {
        inputs<float> in = clean;
        for (index_t key = 0; key < 1201; ++key) {
          if (every_fifth{}.keep(1200, key)) continue;
          in.k(0, 0, key, 3) = in.v(0, 0, key, 2) = poison;
        }
        EXPECT_TRUE(same_bits(attend(in, opts, every_fifth{}, relpos::causal{}), expected))
            << rows << " rows, channels " << head_dim << ", " << value_dim << ", " << poison;
      }
    }
  }
}

}  // namespace
