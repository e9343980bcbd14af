#include "relpos/policy/mask/right_padding.hpp"

#include <gtest/gtest.h>

#include "policy/mask/expect_visible.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::tensor;

const std::vector<index_t> lengths{150, 37, 1, 0};

/// Keys and values are not numbers where they are padding.
inputs<float> padded_batch(index_t queries) {
  inputs<float> in = support::random_inputs({.batch = 4,
                                             .query_heads = 2,
                                             .key_heads = 1,
                                             .query_length = queries,
                                             .key_length = 150,
                                             .head_dim = 16,
                                             .value_dim = 5},
                                            83);
  for (auto* rows : {&in.k, &in.v}) {
    for (index_t batch = 0; batch < 4; ++batch) {
      for (index_t row = lengths[static_cast<std::size_t>(batch)]; row < 150; ++row) {
        for (index_t c = 0; c < rows->shape[3]; ++c) {
          rows->view()(batch, 0, row, c) = support::not_a_number;
        }
      }
    }
  }
  return in;
}

/// The first rows of one entry.
tensor<float> first_rows(const tensor<float>& from, index_t batch, index_t rows) {
  tensor<float> result({1, from.shape[1], rows, from.shape[3]});
  for (index_t head = 0; head < from.shape[1]; ++head) {
    for (index_t row = 0; row < rows; ++row) {
      for (index_t c = 0; c < from.shape[3]; ++c) {
        result.view()(0, head, row, c) = from(batch, head, row, c);
      }
    }
  }
  return result;
}

/// Every query, also one that is padding, gives what it gives over the keys that are not padding.
void expect_entries_alone(index_t queries, relpos::kernel_class kernel) {
  const inputs<float> in = padded_batch(queries);
  const std::vector<float> slopes{0.3f, 0.02f};
  const tensor<float> padded =
      attend(in, {.query_offset = 0, .kernel = kernel}, relpos::alibi_symmetric{slopes},
             relpos::right_padding{lengths})
          .out;
  for (index_t batch = 0; batch < 4; ++batch) {
    SCOPED_TRACE(batch);
    const index_t length = lengths[static_cast<std::size_t>(batch)];
    const inputs<float> alone{first_rows(in.q, batch, queries), first_rows(in.k, batch, length),
                              first_rows(in.v, batch, length)};
    const support::meaning means{.bias =
                                     [](index_t head, index_t distance) {
                                       return -static_cast<double>(head == 0 ? 0.3f : 0.02f) *
                                              std::abs(static_cast<double>(distance));
                                     },
                                 .query_offset = 0};
    const std::vector<double> wanted = naive_attention<double>(alone, means).out;
    const std::vector<float> yardstick = naive_attention<float>(alone, means).out;
    support::expect_close(first_rows(padded, batch, queries).values, wanted,
                          support::float_tolerance(wanted, yardstick), "out");
  }
}

TEST(right_padding, leaves_each_entry_as_it_is_alone) {
  for (const index_t queries : {1, 3, 70, 150}) {
    SCOPED_TRACE(queries);
    expect_entries_alone(queries, relpos::kernel_class::prefill);
  }
  for (const index_t queries : {1, 3, 15}) {
    SCOPED_TRACE(queries);
    expect_entries_alone(queries, relpos::kernel_class::decode);
  }
}

TEST(right_padding, has_no_part_in_queries) {
  const std::vector<index_t> of_one{40};
  support::expect_visible([](index_t, index_t, index_t k_pos) { return k_pos < 40; },
                          relpos::right_padding{of_one});
}

TEST(right_padding, fits_the_batch) {
  const relpos::attention_shape shape{.batch = 4};
  EXPECT_TRUE(relpos::right_padding{lengths}.check(shape));
  const std::vector<index_t> three{0, 1, 2};
  EXPECT_STREQ(relpos::right_padding{three}.check(shape).message,
               "right_padding: 3 lengths for a batch of 4");
  const std::vector<index_t> negative{0, 1, -2, 0};
  EXPECT_STREQ(relpos::right_padding{negative}.check(shape).message,
               "right_padding: lengths have -2 at 2, must be 0 to 2^60");
}

TEST(right_padding, lengths_are_not_written) {
  EXPECT_TRUE(relpos::right_padding{lengths}.reads(relpos::byte_range::of(lengths.data() + 3, 1)));
  EXPECT_FALSE(relpos::right_padding{lengths}.reads(relpos::byte_range::of(lengths.data() + 4, 8)));
}

}  // namespace
