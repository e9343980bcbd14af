#include "relpos/model/frequencies.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "relpos/model/rotary_table.hpp"

namespace {

using relpos::index_t;
using axes = std::vector<std::uint8_t>;

TEST(mrope_axes, are_sections_one_after_the_other) {
  EXPECT_EQ(relpos::mrope_axes(std::array<index_t, 3>{2, 3, 1}), (axes{0, 0, 1, 1, 1, 2}));
}

// Qwen3-VL: [24, 20, 20] pairs of head_dim 128: t h w t h w ... while h and w last, then t.
TEST(mrope_axes, are_dealt_out_in_turn) {
  EXPECT_EQ(relpos::interleaved_mrope_axes(std::array<index_t, 3>{4, 2, 1}),
            (axes{0, 1, 2, 0, 1, 0, 0}));
  const axes qwen = relpos::interleaved_mrope_axes(std::array<index_t, 3>{24, 20, 20});
  ASSERT_EQ(qwen.size(), 64u);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(qwen[i], i < 60 ? i % 3 : 0) << i;
}

TEST(mrope_axes, are_as_many_as_pairs) {
  auto frequencies = relpos::rope_frequencies(16);
  frequencies.axes = relpos::mrope_axes(std::array<index_t, 3>{2, 3, 3});
  const auto fault = [&] {
    const char* const text =
        relpos::rotary_table(frequencies, relpos::pair_layout::half_split).fault();
    return std::string(text == nullptr ? "" : text);
  };
  EXPECT_EQ(fault(), "");
  frequencies.axes.pop_back();
  EXPECT_EQ(fault(), "axes must have one number per pair, or none");
  frequencies.axes.push_back(4);
  EXPECT_EQ(fault(), "a pair rotates by an axis beyond the fourth");
}

}  // namespace
