// NaN and infinity wherever a row does not look: not one bit of the row may change.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <span>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/layouts.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::infinity;
using support::inputs;
using support::not_a_number;

const std::vector<float> slopes{0.3f, 0.02f};
constexpr float poisons[] = {not_a_number, infinity, -infinity};

inputs<float> two_heads(index_t queries, index_t keys) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 11,
                                 .value_dim = 9},
                                19);
}

void poison_keys(inputs<float>& in, index_t first, index_t last, float poison) {
  for (index_t key = first; key < last; ++key) {
    for (index_t c = 0; c < 11; ++c) in.k(0, 0, key, c) = poison;
    for (index_t c = 0; c < 9; ++c) in.v(0, 0, key, c) = poison;
  }
}

bool row_has_bits_of(const attended<float>& a, const attended<float>& b, index_t h, index_t row) {
  bool same = std::bit_cast<int>(a.lse(0, h, row)) == std::bit_cast<int>(b.lse(0, h, row));
  for (index_t c = 0; c < a.out.shape[3]; ++c) {
    same =
        same && std::bit_cast<int>(a.out(0, h, row, c)) == std::bit_cast<int>(b.out(0, h, row, c));
  }
  return same;
}

/// Poisons keys [first, last); rows from `first_unharmed` to `last_unharmed` do not see them.
template <class... Policies>
void expect_unharmed(index_t keys_first, index_t keys_last, index_t first_unharmed,
                     index_t last_unharmed, const relpos::options& opts,
                     const Policies&... policies) {
  const inputs<float> clean = two_heads(150, 290);
  const attended<float> expected = attend(clean, opts, policies...);
  for (const float poison : poisons) {
    inputs<float> poisoned = clean;
    poison_keys(poisoned, keys_first, keys_last, poison);
    const attended<float> got = attend(poisoned, opts, policies...);
    for (index_t h = 0; h < 2; ++h) {
      for (index_t row = first_unharmed; row < last_unharmed; ++row) {
        ASSERT_TRUE(row_has_bits_of(got, expected, h, row))
            << "keys from " << keys_first << " are " << poison << ", row " << row;
      }
    }
    if (std::isnan(poison) && last_unharmed < 150) {
      EXPECT_TRUE(std::isnan(got.out(0, 0, last_unharmed, 0)));  // the poison works
    }
  }
}

TEST(poison, later_keys_under_causal) {
  // Row r stands at 140 + r.
  for (const index_t key : {141, 142, 150, 191, 192, 255, 256, 257, 289}) {
    expect_unharmed(key, 290, 0, key - 140, {}, relpos::alibi{slopes}, relpos::causal{});
    expect_unharmed(key, key + 1, 0, key - 140, {}, relpos::alibi{slopes}, relpos::causal{});
  }
}

TEST(poison, later_keys_of_a_rotation) {
  const relpos::rotary_table xpos(relpos::xpos_frequencies(10), relpos::pair_layout::interleaved);
  for (const index_t key : {141, 150, 255, 256, 289}) {
    // Key 112 is at position 512.
    expect_unharmed(key, 290, 0, key - 140, {.key_offset = 400}, relpos::rotary{xpos},
                    relpos::alibi{slopes}, relpos::causal{});
  }
}

TEST(poison, keys_outside_a_band) {
  // Row r stands at 100 + r and sees 70 + r to 105 + r.
  const relpos::options opts{.query_offset = 100};
  const auto flat = [](index_t, index_t) { return 0.5; };
  for (const index_t row : {1, 30, 47, 48, 49, 100}) {
    expect_unharmed(0, 70 + row, row, 150, opts, relpos::relative_bias{flat}, relpos::band{30, 5});
    expect_unharmed(105 + row, 290, 0, row, opts, relpos::relative_bias{flat}, relpos::band{30, 5});
  }
}

/// Sees every third key, and says nothing of tiles.
struct every_third {
  bool keep(index_t, index_t k_pos) const { return k_pos % 3 == 0; }
};

TEST(poison, keys_that_an_element_mask_drops) {
  for (const index_t key : {0, 3, 63, 129, 288}) {
    expect_unharmed(key + 1, std::min<index_t>(key + 3, 290), 0, 150, {}, every_third{});
  }
}

TEST(poison, heads_look_at_their_own_keys) {
  const support::sizes of{.batch = 2,
                          .query_heads = 4,
                          .key_heads = 2,
                          .query_length = 60,
                          .key_length = 130,
                          .head_dim = 8,
                          .value_dim = 8};
  const std::vector<float> four_slopes{0.3f, 0.02f, 0.4f, 0.1f};
  inputs<float> in = support::random_inputs(of, 20);
  const attended<float> expected = attend(in, {}, relpos::alibi{four_slopes}, relpos::causal{});
  for (index_t row = 0; row < 130; ++row) {
    for (index_t c = 0; c < 8; ++c) in.k(1, 0, row, c) = in.v(1, 0, row, c) = not_a_number;
  }
  const attended<float> got = attend(in, {}, relpos::alibi{four_slopes}, relpos::causal{});
  const std::size_t head_size = 60 * 8;
  for (std::size_t i = 0; i < got.out.values.size(); ++i) {
    const std::size_t head = i / head_size;
    if (head == 4 || head == 5) {
      ASSERT_TRUE(std::isnan(got.out.values[i]));
    } else {
      ASSERT_EQ(got.out.values[i], expected.out.values[i]);
    }
  }
}

TEST(poison, other_queries) {
  inputs<float> in = two_heads(150, 290);
  const attended<float> expected = attend(in, {}, relpos::alibi{slopes}, relpos::causal{});
  for (const float poison : poisons) {
    inputs<float> poisoned = in;
    for (const index_t row : {0, 17, 50, 149}) poisoned.q(0, 0, row, 5) = poison;
    const attended<float> got = attend(poisoned, {}, relpos::alibi{slopes}, relpos::causal{});
    for (index_t row = 0; row < 150; ++row) {
      const bool own = row == 0 || row == 17 || row == 50 || row == 149;
      ASSERT_NE(row_has_bits_of(got, expected, 0, row), own) << row;
      ASSERT_TRUE(row_has_bits_of(got, expected, 1, row)) << row;
    }
  }
}

TEST(poison, biases_of_hidden_keys) {
  const inputs<float> in = two_heads(150, 290);
  support::tensor<float> clean = support::random_tensor({1, 2, 150, 290}, 21);
  support::tensor<float> poisoned = clean;
  for (index_t h = 0; h < 2; ++h) {
    for (index_t row = 0; row < 150; ++row) {
      for (index_t key = 141 + row; key < 290; ++key) {
        poisoned(0, h, row, key) = poisons[static_cast<std::size_t>(key % 3)];
      }
    }
  }
  EXPECT_TRUE(same_bits(attend(in, {}, relpos::additive_bias{clean.view()}, relpos::causal{}),
                        attend(in, {}, relpos::additive_bias{poisoned.view()}, relpos::causal{})));
}

TEST(poison, a_single_channel_of_a_hidden_key) {
  const inputs<float> clean = two_heads(150, 290);
  const attended<float> expected = attend(clean, {}, relpos::alibi{slopes}, relpos::causal{});
  for (const float poison : poisons) {
    for (index_t c = 0; c < 11; ++c) {
      for (const index_t key : {150, 200, 289}) {
        inputs<float> poisoned = clean;
        poisoned.k(0, 0, key, c) = poison;
        poisoned.v(0, 0, key, c % 9) = poison;
        const attended<float> got = attend(poisoned, {}, relpos::alibi{slopes}, relpos::causal{});
        for (index_t row = 0; row < key - 140; ++row) {
          ASSERT_TRUE(row_has_bits_of(got, expected, 0, row))
              << "key " << key << ", channel " << c << " is " << poison << ", row " << row;
        }
      }
    }
  }
}

// Between the rows and around the arrays there is NaN (layouts.hpp), around slopes and tables too.
TEST(poison, everything_around_the_data) {
  const inputs<float> in = two_heads(150, 290);
  std::vector<float> wide(100, not_a_number);
  std::copy(slopes.begin(), slopes.end(), wide.begin() + 50);
  const std::span<const float> inner(wide.data() + 50, 2);
  const auto spread = [](const auto& of) {
    return lay_out(of, support::strides_of(of.shape, {0, 2, 1, 3}, 1, 7));
  };
  const auto q = spread(in.q);
  const auto k = spread(in.k);
  const auto v = spread(in.v);
  EXPECT_TRUE(same_bits(
      support::attend(q.view(), k.view(), v.view(), {}, relpos::alibi{inner}, relpos::causal{}),
      attend(in, {}, relpos::alibi{slopes}, relpos::causal{})));
}

// An infinity that a row does see reaches it, as arithmetic says.
TEST(poison, seen_infinities_stay) {
  for (const float poison : {infinity, -infinity}) {
    inputs<float> in = two_heads(150, 290);
    in.v(0, 0, 200, 4) = poison;
    const attended<float> got = attend(in, {}, relpos::causal{});
    for (index_t row = 60; row < 150; ++row) {
      EXPECT_EQ(got.out(0, 1, row, 4), poison) << row;
      EXPECT_TRUE(std::isfinite(got.out(0, 1, row, 3))) << row;
      EXPECT_TRUE(std::isfinite(got.lse(0, 1, row))) << row;
    }
    for (index_t row = 0; row < 60; ++row) EXPECT_TRUE(std::isfinite(got.out(0, 1, row, 4))) << row;
  }
}

}  // namespace
