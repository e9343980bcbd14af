// A relative encoding knows differences of positions only: moving queries and keys together changes
// nothing. Not one bit, if they move by whole key tiles (128), which begin at absolute positions.

#include <gtest/gtest.h>

#include <cmath>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::inputs;

constexpr index_t far = index_t{1} << 40;
const std::vector<index_t> tile_shifts{
    128, -128 * 7, far, -far, far + 128 * 12345, relpos::max_offset - 1024, -relpos::max_offset};
// Rotations are relative to blocks of 512 positions.
const std::vector<index_t> block_shifts{
    512, -512 * 7, far, -far, far + 512 * 12345, relpos::max_offset - 1024, -relpos::max_offset};
constexpr index_t odd_shifts[] = {1, -77, 1000003, far + 1, -far + 65};

const std::vector<float> slopes{0.2f, 0.01f};
const std::vector<float> right_slopes{0.05f, 0.4f};
const std::vector<float> table = support::random_tensor({1, 1, 32, 2}, 3, 2.0f).values;

/// `exact` shifts change no bit; all others change numbers by rounding only.
template <class... Policies>
void expect_invariant_under(const std::vector<index_t>& exact, const Policies&... policies) {
  const inputs<float> in = support::random_inputs({.batch = 1,
                                                   .query_heads = 2,
                                                   .key_heads = 1,
                                                   .query_length = 50,
                                                   .key_length = 290,
                                                   .head_dim = 8,
                                                   .value_dim = 8},
                                                  81);
  const relpos::options here{.query_offset = 150, .key_offset = 0};
  const auto expected = attend(in, here, policies...);
  expect_reference(expected, in, here, policies...);
  for (const index_t shift : exact) {
    EXPECT_TRUE(same_bits(
        expected, attend(in, {.query_offset = 150 + shift, .key_offset = shift}, policies...)))
        << shift;
  }
  for (const index_t shift : odd_shifts) {
    SCOPED_TRACE(shift);
    expect_reference(attend(in, {.query_offset = 150 + shift, .key_offset = shift}, policies...),
                     in, here, policies...);
  }
}

template <class... Policies>
void expect_invariant(const Policies&... policies) {
  expect_invariant_under(tile_shifts, policies...);
}

TEST(shift_invariance, no_encoding) { expect_invariant(relpos::band{100, 30}); }
TEST(shift_invariance, alibi) { expect_invariant(relpos::alibi{slopes}, relpos::causal{}); }
TEST(shift_invariance, alibi_symmetric) { expect_invariant(relpos::alibi_symmetric{slopes}); }
TEST(shift_invariance, alibi_two_sided) {
  expect_invariant(relpos::alibi_two_sided{slopes, right_slopes});
}
TEST(shift_invariance, alibi_offset) { expect_invariant(relpos::alibi_offset{slopes}); }
TEST(shift_invariance, alibi_one_sided) { expect_invariant(relpos::alibi_one_sided{slopes}); }
TEST(shift_invariance, t5) {
  expect_invariant(relpos::t5_bias{table, relpos::bidirectional}, relpos::full{});
  expect_invariant(relpos::t5_bias{table, relpos::unidirectional}, relpos::full{});
}
TEST(shift_invariance, rotations) {
  for (const relpos::pair_layout layout :
       {relpos::pair_layout::interleaved, relpos::pair_layout::half_split}) {
    const relpos::rotary_table rope(relpos::rope_frequencies(6), layout);
    const relpos::rotary_table xpos(relpos::xpos_frequencies(8), layout);
    expect_invariant_under(block_shifts, relpos::rotary{rope});
    expect_invariant_under(block_shifts, relpos::rotary{xpos}, relpos::causal{});
  }
}
TEST(shift_invariance, relative_bias) {
  expect_invariant(relpos::relative_bias{[](index_t head, index_t distance) {
    return std::sin(static_cast<double>(distance) * 0.1) + static_cast<double>(head);
  }});
}
TEST(shift_invariance, mixed_bias) {
  const auto coefficients = support::random_tensor({1, 2, 50, 3}, 4);
  const auto tables = support::random_tensor({1, 2, 3, 200}, 5);
  expect_invariant(relpos::mixed_bias{
      coefficients.view(), relpos::view<const float, 3>(tables.values.data(), {2, 3, 200}), -120});
}

}  // namespace
