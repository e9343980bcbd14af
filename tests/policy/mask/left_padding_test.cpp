#include "relpos/policy/mask/left_padding.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::tensor;

constexpr index_t longest = 150;
const std::vector<index_t> counts{0, 37, 149, 150};

inputs<float> padded_batch() {
  inputs<float> in = support::random_inputs({.batch = 4,
                                             .query_heads = 2,
                                             .key_heads = 1,
                                             .query_length = longest,
                                             .key_length = longest,
                                             .head_dim = 16,
                                             .value_dim = 5},
                                            81);
  for (auto* tensor : {&in.q, &in.k, &in.v}) {
    for (index_t batch = 0; batch < 4; ++batch) {
      for (index_t head = 0; head < tensor->shape[1]; ++head) {
        for (index_t row = 0; row < counts[static_cast<std::size_t>(batch)]; ++row) {
          for (index_t c = 0; c < tensor->shape[3]; ++c) {
            tensor->view()(batch, head, row, c) = support::not_a_number;
          }
        }
      }
    }
  }
  return in;
}

/// The rows of one entry without its padding.
tensor<float> unpadded(const tensor<float>& from, index_t batch) {
  const index_t count = counts[static_cast<std::size_t>(batch)];
  tensor<float> result({1, from.shape[1], longest - count, from.shape[3]});
  for (index_t head = 0; head < from.shape[1]; ++head) {
    for (index_t row = count; row < longest; ++row) {
      for (index_t c = 0; c < from.shape[3]; ++c) {
        result.view()(0, head, row - count, c) = from(batch, head, row, c);
      }
    }
  }
  return result;
}

/// An entry of the padded batch gives what it gives alone, and its padding gives 0.
void expect_entries_alone(const tensor<float>& padded, const support::meaning& means) {
  const inputs<float> in = padded_batch();
  for (index_t batch = 0; batch < 4; ++batch) {
    SCOPED_TRACE(batch);
    const index_t count = counts[static_cast<std::size_t>(batch)];
    for (index_t head = 0; head < 2; ++head) {
      for (index_t row = 0; row < count; ++row) {
        for (index_t c = 0; c < 5; ++c) EXPECT_EQ(padded(batch, head, row, c), 0.0f);
      }
    }
    const inputs<float> alone{unpadded(in.q, batch), unpadded(in.k, batch), unpadded(in.v, batch)};
    const std::vector<double> wanted = naive_attention<double>(alone, means).out;
    const std::vector<float> yardstick = naive_attention<float>(alone, means).out;
    support::expect_close(unpadded(padded, batch).values, wanted,
                          support::float_tolerance(wanted, yardstick), "out");
  }
}

TEST(left_padding, changes_nothing_for_relative_encodings) {
  const std::vector<float> slopes{0.3f, 0.02f};
  const relpos::rotary_table xpos(relpos::xpos_frequencies(16), relpos::pair_layout::half_split);
  const tensor<float> padded =
      attend(padded_batch(), {}, relpos::rotary{xpos}, relpos::alibi{slopes}, relpos::causal{},
             relpos::left_padding{counts})
          .out;
  const auto theta = [](index_t i) { return std::pow(10000.0, -static_cast<double>(i) / 8.0); };
  const auto zeta = [](index_t i) {
    return std::pow((static_cast<double>(i) / 8.0 + 0.4) / 1.4, 1.0 / 512.0);
  };
  expect_entries_alone(
      padded,
      {.bias =
           [](index_t head, index_t distance) {
             return static_cast<double>(head == 0 ? 0.3f : 0.02f) * static_cast<double>(distance);
           },
       .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
       .rotation = support::rotary_meaning{.rotary_dim = 16, .theta = theta, .zeta = zeta}});
}

// Blocks begin at an entry's first token.
TEST(left_padding, has_a_mask_of_its_own_positions) {
  const tensor<float> padded =
      attend(padded_batch(), {}, relpos::left_padding{counts, relpos::blockwise_causal{16}}).out;
  expect_entries_alone(padded, {.visible = [](index_t, index_t q_pos, index_t k_pos) {
                         return k_pos <= q_pos && k_pos / 16 + 1 >= q_pos / 16;
                       }});
}

TEST(left_padding, fits_the_batch) {
  const relpos::attention_shape shape{.batch = 4};
  EXPECT_TRUE(relpos::left_padding{counts}.check(shape));
  const std::vector<index_t> three{0, 1, 2};
  EXPECT_STREQ(relpos::left_padding{three}.check(shape).message,
               "left_padding: 3 counts for a batch of 4");
  const std::vector<index_t> negative{0, 1, -2, 0};
  EXPECT_STREQ(relpos::left_padding{negative}.check(shape).message,
               "left_padding: counts have -2 at 2, must be 0 to 2^60");
  EXPECT_STREQ((relpos::left_padding{counts, relpos::blockwise_causal{0}}.check(shape).message),
               "blockwise_causal: block is 0, must be 1 to 2^60");
}

TEST(left_padding, counts_are_not_written) {
  EXPECT_TRUE(relpos::left_padding{counts}.reads(relpos::byte_range::of(counts.data() + 3, 1)));
  EXPECT_FALSE(relpos::left_padding{counts}.reads(relpos::byte_range::of(counts.data() + 4, 8)));
}

}  // namespace
