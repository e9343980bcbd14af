#include "relpos/policy/rotary.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "relpos/model/frequencies.hpp"
#include "relpos/model/rotate.hpp"
#include "relpos/policy/alibi.hpp"
#include "relpos/policy/mask/blockwise.hpp"
#include "relpos/policy/mask/causal.hpp"
#include "relpos/policy/temperature.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"
#include "support/odd_shapes.hpp"
#include "support/reference.hpp"
#include "support/sixteen_lanes.hpp"

namespace {

using relpos::index_t;
using relpos::pair_layout;
using relpos::rotary;
using relpos::rotary_table;
using support::inputs;
using support::meaning;
using support::rotary_meaning;
using support::sizes;

/// RoFormer, equation 15: theta_i = 10000^(-2i/d).
rotary_meaning rope_meaning(index_t rotary_dim, pair_layout layout) {
  return {.rotary_dim = rotary_dim,
          .interleaved = layout == pair_layout::interleaved,
          .theta = [=](index_t i) {
            return std::pow(10000.0,
                            -2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim));
          }};
}

/// A Length-Extrapolatable Transformer, algorithm 1: zeta_i = (2i/d + 0.4) / 1.4, every 512
/// positions.
rotary_meaning xpos_meaning(index_t rotary_dim, pair_layout layout, double scale_base = 512.0) {
  rotary_meaning result = rope_meaning(rotary_dim, layout);
  result.zeta = [=](index_t i) {
    const double part = 2.0 * static_cast<double>(i) / static_cast<double>(rotary_dim);
    return std::pow((part + 0.4) / 1.4, 1.0 / scale_base);
  };
  return result;
}

bool is_causal(index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; }

constexpr pair_layout layouts[] = {pair_layout::interleaved, pair_layout::half_split};

TEST(rotary, rope_is_that_of_the_paper) {
  for (const pair_layout layout : layouts) {
    for (const index_t head_dim : {2, 8, 20, 64}) {
      for (const index_t rotary_dim : {2, 6, 20, 34, 64}) {
        if (rotary_dim > head_dim) continue;
        SCOPED_TRACE(std::to_string(rotary_dim) + " of " + std::to_string(head_dim));
        const inputs<float> in = support::random_inputs({.batch = 2,
                                                         .query_heads = 2,
                                                         .key_heads = 1,
                                                         .query_length = 50,
                                                         .key_length = 140,
                                                         .head_dim = head_dim},
                                                        5);
        const rotary_table table(relpos::rope_frequencies(rotary_dim), layout);
        expect_means(attend(in, {.query_offset = 60}, rotary{table}), in,
                     {.rotation = rope_meaning(rotary_dim, layout), .query_offset = 60});
      }
    }
  }
}

/// 6 or 16 of 20 channels, from the second on and the last ones, in both kernels.
TEST(rotary, of_channels_in_the_middle_and_at_the_end) {
  for (const pair_layout layout : layouts) {
    for (const index_t rotary_dim : {6, 16}) {
      for (const index_t first : {index_t{1}, 20 - rotary_dim}) {
        SCOPED_TRACE(std::to_string(rotary_dim) + " from " + std::to_string(first) + " on");
        const rotary_table rope(relpos::rope_frequencies(rotary_dim), layout);
        const rotary_table xpos(relpos::xpos_frequencies(rotary_dim), layout);
        meaning of_rope{.visible = is_causal, .rotation = rope_meaning(rotary_dim, layout)};
        of_rope.rotation->first_channel = first;
        meaning of_xpos{.visible = is_causal, .rotation = xpos_meaning(rotary_dim, layout)};
        of_xpos.rotation->first_channel = first;
        for (const index_t queries : {1, 30}) {
          const inputs<float> in = support::random_inputs({.batch = 1,
                                                           .query_heads = 2,
                                                           .key_heads = 1,
                                                           .query_length = queries,
                                                           .key_length = 540,
                                                           .head_dim = 20,
                                                           .value_dim = 5},
                                                          15);
          for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
            const relpos::options opts{.kernel = kernel};
            expect_means(attend(in, opts, rotary{rope, first}, relpos::causal{}), in, of_rope);
            expect_means(attend(in, opts, rotary{xpos, first}, relpos::causal{}), in, of_xpos);
          }
        }
      }
    }
  }
}

TEST(rotary, xpos_is_that_of_the_paper) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 4,
                                                   .key_heads = 2,
                                                   .query_length = 130,
                                                   .key_length = 1300,
                                                   .head_dim = 16},
                                                  6);
  for (const pair_layout layout : layouts) {
    for (const double scale_base : {512.0, 64.0}) {
      const rotary_table table(relpos::xpos_frequencies(16, 0.4, scale_base), layout);
      const meaning means{.visible = is_causal,
                          .rotation = xpos_meaning(16, layout, scale_base),
                          .query_offset = 1170};
      expect_means(attend(in, {}, rotary{table}, relpos::causal{}), in, means);
    }
  }
}

// torchscale's scale^(position / 512) passes the largest float32 where a key is 36260 from the
// centre.
TEST(rotary, xpos_beyond_what_a_float_can_scale) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 1,
                                                   .key_heads = 1,
                                                   .query_length = 3,
                                                   .key_length = 90000,
                                                   .head_dim = 8,
                                                   .value_dim = 2},
                                                  7);
  const rotary_table table(relpos::xpos_frequencies(8), pair_layout::interleaved);
  const meaning means{.visible = is_causal,
                      .rotation = xpos_meaning(8, pair_layout::interleaved),
                      .query_offset = 89997};
  const index_t far = index_t{1} << 40;
  expect_means(attend(in, {}, rotary{table}, relpos::causal{}), in, means);
  expect_means(attend(in, {.key_offset = far + 77}, rotary{table}, relpos::causal{}), in, means);
}

TEST(rotary, is_exact_at_far_positions) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 2,
                                                   .key_heads = 2,
                                                   .query_length = 70,
                                                   .key_length = 600,
                                                   .head_dim = 16},
                                                  8);
  for (const pair_layout layout : layouts) {
    const rotary_table rope(relpos::rope_frequencies(16), layout);
    const rotary_table xpos(relpos::xpos_frequencies(16), layout);
    for (const index_t offset : {index_t{999000}, index_t{1000003}, (index_t{1} << 40) - 300,
                                 -(index_t{1} << 40) + 5, relpos::max_offset - 600}) {
      SCOPED_TRACE(offset);
      const relpos::options there{.key_offset = offset};
      const meaning rotated{.rotation = rope_meaning(16, layout), .query_offset = 530};
      const meaning scaled{
          .visible = is_causal, .rotation = xpos_meaning(16, layout), .query_offset = 530};
      expect_means(attend(in, there, rotary{rope}), in, rotated);
      expect_means(attend(in, there, rotary{xpos}, relpos::causal{}), in, scaled);
    }
  }
}

// The reference formula overflows a half at 4532 positions from its centre.
template <class Stored>
void expect_exact_in_sixteen_bits() {
  const auto in = support::random_inputs<Stored>({.batch = 1,
                                                  .query_heads = 1,
                                                  .key_heads = 1,
                                                  .query_length = 4,
                                                  .key_length = 12000,
                                                  .head_dim = 16},
                                                 11);
  const rotary_table table(relpos::xpos_frequencies(16), pair_layout::half_split);
  const meaning means{.visible = is_causal,
                      .rotation = xpos_meaning(16, pair_layout::half_split),
                      .query_offset = 11996};
  for (const index_t offset : {index_t{0}, index_t{1000003}, (index_t{1} << 40) + 77}) {
    SCOPED_TRACE(offset);
    expect_means(attend(in, {.key_offset = offset}, rotary{table}, relpos::causal{}), in, means);
  }
}
TEST(rotary, xpos_of_bfloat16) { expect_exact_in_sixteen_bits<relpos::bfloat16>(); }
TEST(rotary, xpos_of_half) { expect_exact_in_sixteen_bits<relpos::half>(); }

TEST(rotary, distances_of_a_million) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 1,
                                                   .key_heads = 1,
                                                   .query_length = 60,
                                                   .key_length = 200,
                                                   .head_dim = 32},
                                                  9);
  const rotary_table table(relpos::rope_frequencies(32), pair_layout::half_split);
  for (const index_t offset : {1000000, -1000000}) {
    expect_means(attend(in, {.query_offset = offset}, rotary{table}), in,
                 {.rotation = rope_meaning(32, pair_layout::half_split), .query_offset = offset});
  }
}

TEST(rotary, agrees_with_rows_that_were_rotated_before) {
  const sizes of{.batch = 2,
                 .query_heads = 4,
                 .key_heads = 2,
                 .query_length = 90,
                 .key_length = 300,
                 .head_dim = 24};
  const auto frequencies = relpos::yarn_frequencies(20, 8.0, 64);
  ASSERT_GT(frequencies.attention_factor, 1.0);
  for (const pair_layout layout : layouts) {
    const inputs<float> in = support::random_inputs(of, 10);
    inputs<float> before = in;
    ASSERT_TRUE(relpos::rotate(before.q.view(), frequencies, layout, 210));
    ASSERT_TRUE(relpos::rotate(before.k.view(), frequencies, layout, 0));
    const rotary_table table(frequencies, layout);
    const auto got = attend(in, {}, rotary{table}, relpos::causal{});
    const auto expected = attend(before, {}, relpos::causal{});
    for (std::size_t i = 0; i < got.out.values.size(); ++i) {
      ASSERT_NEAR(got.out.values[i], expected.out.values[i], 4e-6);
    }
    expect_reference(got, in, {}, rotary{table}, relpos::causal{});
  }
}

TEST(rotary, odd_shapes) {
  const rotary_table rope(relpos::rope_frequencies(6), pair_layout::interleaved);
  const rotary_table xpos(relpos::xpos_frequencies(8), pair_layout::half_split);
  std::vector<sizes> shapes = support::odd_lengths();
  for (const sizes& of : support::odd_heads()) shapes.push_back(of);
  for (const sizes& of : shapes) {
    const inputs<float> in = support::random_inputs(of, 11);
    support::expect_reference_of(in, {.query_offset = 500}, rotary{rope});
    support::expect_reference_of(in, {.key_offset = 505}, rotary{xpos}, relpos::causal{});
  }
}

// A skipped tile must have been judged by the norms of what is multiplied.
TEST(rotary, far_tiles_of_a_steep_bias) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 2,
                                                   .key_heads = 1,
                                                   .query_length = 300,
                                                   .key_length = 1500,
                                                   .head_dim = 16},
                                                  12);
  const std::vector<float> slopes{1.0f, 0.05f};
  const rotary_table rope(relpos::rope_frequencies(16), pair_layout::half_split);
  const rotary_table xpos(relpos::xpos_frequencies(16), pair_layout::half_split);
  support::expect_reference_of(in, {}, rotary{rope}, relpos::alibi{slopes}, relpos::causal{});
  support::expect_reference_of(in, {}, rotary{xpos}, relpos::alibi{slopes}, relpos::causal{},
                               relpos::temperature{0.7});
}

TEST(rotary, with_everything_else) {
  const inputs<float> in = support::random_inputs({.batch = 2,
                                                   .query_heads = 4,
                                                   .key_heads = 2,
                                                   .query_length = 100,
                                                   .key_length = 700,
                                                   .head_dim = 16},
                                                  13);
  const rotary_table xpos(relpos::xpos_frequencies(16), pair_layout::half_split);
  support::expect_reference_of(in, {.softcap = 3.0f, .key_offset = 200}, rotary{xpos},
                               relpos::blockwise_causal{256}, relpos::temperature{0.8});
  const rotary_table of_few(relpos::xpos_frequencies(6), pair_layout::interleaved);
  support::expect_reference_of(in, {.softcap = 3.0f, .key_offset = 200}, rotary{of_few, 10},
                               relpos::blockwise_causal{256}, relpos::temperature{0.8});
}

TEST(rotary, generic_vectors_of_sixteen_lanes) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 1,
                                                   .key_heads = 1,
                                                   .query_length = 40,
                                                   .key_length = 600,
                                                   .head_dim = 70},
                                                  14);
  for (const pair_layout layout : layouts) {
    const rotary_table xpos(relpos::xpos_frequencies(68), layout);
    expect_reference(
        support::attend<support::sixteen_lanes>(in, {}, rotary{xpos}, relpos::causal{}), in, {},
        rotary{xpos}, relpos::causal{});
  }
}

TEST(rotary, refuses_what_does_not_fit) {
  const auto message = [](const relpos::rotary_frequencies& frequencies, index_t head_dim) {
    const rotary_table table(frequencies, pair_layout::half_split);
    return std::string(rotary{table}.check({.head_dim = head_dim}).message);
  };
  EXPECT_EQ(message(relpos::rope_frequencies(8), 8), "");
  EXPECT_EQ(message(relpos::rope_frequencies(10), 8),
            "rotary: 5 pairs of channels, must be at most half of head_dim 8");
  EXPECT_EQ(message(relpos::rope_frequencies(7), 8),
            "rotary: the table is empty: an argument of its frequencies is out of range");
  EXPECT_NE(message(relpos::xpos_frequencies(8, 0.0), 8), "");
  EXPECT_NE(message(relpos::xpos_frequencies(8, 0.4, -1.0), 8), "");
  EXPECT_NE(message(relpos::xpos_frequencies(8, 0.4, 1.0), 8), "");
  relpos::rotary_frequencies uneven = relpos::xpos_frequencies(8);
  uneven.log2_decay.pop_back();
  EXPECT_EQ(message(uneven, 8), "rotary: log2_decay must have one number per pair, or none");
  relpos::rotary_frequencies endless = relpos::rope_frequencies(8);
  endless.radians[2] = INFINITY;
  EXPECT_EQ(message(endless, 8), "rotary: a frequency is not finite");
  endless = relpos::rope_frequencies(8);
  for (const double factor : {static_cast<double>(NAN), 1e39}) {
    endless.attention_factor = factor;
    EXPECT_EQ(message(endless, 8), "rotary: attention_factor is not finite in float32");
  }
  const rotary_table four(relpos::rope_frequencies(4), pair_layout::half_split);
  const auto from = [&](index_t first) {
    return std::string(rotary{four, first}.check({.head_dim = 8}).message);
  };
  EXPECT_EQ(from(4), "");
  EXPECT_EQ(from(5), "rotary: first_channel is 5, must be 0 to 4 for 2 pairs and head_dim 8");
  EXPECT_EQ(from(-1), "rotary: first_channel is -1, must be 0 to 4 for 2 pairs and head_dim 8");
}

TEST(rotary, outputs_must_not_overlap_the_table) {
  const rotary_table table(relpos::xpos_frequencies(8), pair_layout::half_split);
  const relpos::rotation_rows rows = table.rows();
  EXPECT_TRUE(rotary{table}.reads(relpos::byte_range::of(rows.queries + 100, 4)));
  EXPECT_TRUE(rotary{table}.reads(relpos::byte_range::of(rows.keys + 512 * 8 - 1, 4)));
  EXPECT_FALSE(rotary{table}.reads(relpos::byte_range::of(&table, sizeof table)));
}

}  // namespace
