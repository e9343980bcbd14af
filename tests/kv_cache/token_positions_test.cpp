// Caches whose keys are rotated to the positions of their tokens, as M-RoPE's are: attention over
// them is attention over the same keys in tensors.

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::inputs;

constexpr index_t length = 700;

/// Positions by time, height and width of a text with an image in it.
std::vector<index_t> places() {
  std::vector<index_t> result(3 * 2 * length);
  for (index_t axis = 0; axis < 3; ++axis) {
    for (index_t batch = 0; batch < 2; ++batch) {
      for (index_t row = 0; row < length; ++row) {
        const bool in_image = row >= 40 && row < 340;
        const index_t pixel = row - 40;
        const index_t inside = axis == 0 ? 40 : axis == 1 ? 40 + pixel / 20 : 40 + pixel % 20;
        const index_t behind = row < 40 ? row : row - 240;
        result[static_cast<std::size_t>((axis * 2 + batch) * length + row)] =
            (in_image ? inside : behind) + 1000 * batch;
      }
    }
  }
  return result;
}

struct positions_of_rows {
  std::vector<index_t> all = places();

  relpos::view<const index_t, 3> of(index_t first, index_t last) const {
    return relpos::view<const index_t, 3>(all.data(), {3, 2, length}).slice(2, first, last - first);
  }
  index_t at(index_t batch, index_t row, index_t axis) const {
    return all[static_cast<std::size_t>((axis * 2 + batch) * length + row)];
  }
};

inputs<float> call(index_t queries) {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 4,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = length,
                                 .head_dim = 24,
                                 .value_dim = 12},
                                61);
}

template <class Own>
void expect_as_tensors(Own own) {
  const positions_of_rows at;
  relpos::rotary_frequencies frequencies = relpos::rope_frequencies(24);
  const std::vector<index_t> sections{4, 4, 4};
  frequencies.axes = relpos::mrope_axes(sections);
  const relpos::rotary_table table(frequencies, relpos::pair_layout::half_split);
  const relpos::rotary rope{table};
  const inputs<float> stored = call(1);
  for (index_t first = 0; first < length; first += 90) {
    const index_t last = std::min(first + 90, length);
    append_rows(own, stored, first, last, rope,
                relpos::token_positions{at.of(first, last), at.of(first, last)});
  }
  for (const index_t queries : {1, 5, 70}) {
    inputs<float> in = call(queries);
    in.k = stored.k;
    in.v = stored.v;
    const relpos::token_positions rows{at.of(length - queries, length), at.of(0, length)};
    const support::meaning means{
        .visible = [](index_t, index_t q_pos, index_t k_pos) { return k_pos <= q_pos; },
        .rotation =
            support::rotary_meaning{
                .rotary_dim = 24,
                .theta =
                    [](index_t pair) { return std::pow(10000.0, -static_cast<double>(pair) / 12); },
                .axis = [](index_t pair) { return pair / 4; }},
        .query_position = [&](index_t batch, index_t row,
                              index_t axis) { return at.at(batch, row + length - queries, axis); },
        .key_position = [&](index_t batch, index_t row,
                            index_t axis) { return at.at(batch, row, axis); }};
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      SCOPED_TRACE(std::to_string(queries) + " queries");
      expect_means(support::attend_cache(own.cache(), std::as_const(in.q).view(),
                                         {.kernel = kernel}, rope, rows, relpos::causal{}),
                   in, means);
    }
  }
}

TEST(cache_of_token_positions, is_as_tensors) {
  const support::cache_sizes sizes{
      .batch = 2, .key_heads = 2, .rows = length, .head_dim = 24, .value_dim = 12};
  expect_as_tensors(support::own_contiguous<float>(sizes));
  expect_as_tensors(support::own_paged<float>(sizes, 16));
  expect_as_tensors(support::own_ring<float>(sizes));
}

TEST(cache_of_token_positions, refuses_lists_that_do_not_fit_the_new_rows) {
  support::own_contiguous<float> own(
      {.batch = 2, .key_heads = 2, .rows = 30, .head_dim = 24, .value_dim = 12});
  const positions_of_rows at;
  const relpos::rotary_table table(relpos::rope_frequencies(24), relpos::pair_layout::half_split);
  const inputs<float> in = call(1);
  const auto append = [&](const auto&... policies) {
    return relpos::append(relpos::serial{}, own.cache(), in.k.view().slice(2, 0, 20),
                          in.v.view().slice(2, 0, 20), policies...);
  };
  const relpos::status done =
      append(relpos::rotary{table}, relpos::token_positions{at.of(0, 19), at.of(0, 19)});
  EXPECT_EQ(done.code, relpos::status_code::invalid_shape) << done.message;
  EXPECT_EQ(own.lengths[0], 0);
  const relpos::rotary_table decaying(relpos::xpos_frequencies(24),
                                      relpos::pair_layout::half_split);
  EXPECT_FALSE(
      append(relpos::rotary{decaying}, relpos::token_positions{at.of(0, 20), at.of(0, 20)}));
  EXPECT_EQ(own.lengths[0], 0);
}

}  // namespace
