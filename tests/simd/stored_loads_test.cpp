// Rows of caches as floats: every code, at every place of a vector and of a block, whatever the
// number of channels.

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include "relpos/core/float8.hpp"
#include "relpos/core/int4.hpp"
#include "relpos/rows/strided_rows.hpp"
#include "support/stored_formats.hpp"

namespace {

using relpos::index_t;

template <class Stored>
void expect_rows() {
  std::vector<Stored> codes(512);
  for (std::size_t i = 0; i < codes.size(); ++i) codes[i].bits = static_cast<std::uint8_t>(i * 5);
  for (index_t first = 0; first < 65; ++first) {
    for (index_t channels = 1; channels < 300; channels += channels < 70 ? 1 : 37) {
      std::vector<float> row(static_cast<std::size_t>(channels) + 1, 99.0f);
      relpos::load_row<relpos::native>(codes.data() + first, channels, row.data());
      for (index_t c = 0; c < channels; ++c) {
        const auto got = row[static_cast<std::size_t>(c)];
        const std::uint32_t code = codes[static_cast<std::size_t>(first + c)].bits;
        const double wanted = support::float8_meaning<Stored>(code);
        if (std::isnan(wanted)) {
          ASSERT_TRUE(std::isnan(got)) << code;
        } else {
          ASSERT_EQ(got, wanted) << code << " at " << first << ", channel " << c;
        }
        ASSERT_EQ(std::signbit(got), code >= 128) << code;
      }
      ASSERT_EQ(row.back(), 99.0f);
    }
  }
}

TEST(stored_loads, float8) {
  expect_rows<relpos::float8_e4m3>();
  expect_rows<relpos::float8_e5m2>();
}

template <int Channels>
void expect_groups() {
  relpos::int4_group<Channels> row[5];
  for (std::uint32_t i = 0; i < 5; ++i) {
    row[i].scale = relpos::half(0.25f * static_cast<float>(i + 1));
    row[i].zero = relpos::half(-3.0f);
    for (index_t c = 0; c < Channels; ++c) {
      row[i].set_code(c, (static_cast<std::uint32_t>(c) * 7 + i) & 15u);
    }
  }
  for (index_t channels = Channels; channels <= 5 * Channels; channels += Channels) {
    std::vector<float> values(static_cast<std::size_t>(channels));
    relpos::load_row<relpos::native>(row, channels, values.data());
    for (index_t c = 0; c < channels; ++c) {
      const auto code = static_cast<float>((c % Channels * 7 + c / Channels) % 16);
      ASSERT_EQ(values[static_cast<std::size_t>(c)],
                0.25f * static_cast<float>(c / Channels + 1) * code - 3.0f)
          << c;
    }
  }
}

TEST(stored_loads, int4) {
  expect_groups<32>();
  expect_groups<64>();
}

}  // namespace
