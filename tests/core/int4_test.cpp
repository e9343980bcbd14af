// Groups of four bits: their layout, which is ggml's, and their values.

#include "relpos/core/int4.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "relpos/simd/load_vectors.hpp"

namespace {

using relpos::half;
using relpos::index_t;
using relpos::int4_group;

/// block_q4_1 of ggml: the scale, the least value, and in byte j the channels j and j + 16.
TEST(int4, layout_of_32_channels_is_the_layout_of_ggml) {
  static_assert(sizeof(int4_group<32>) == 20 && alignof(int4_group<32>) == 2);
  static_assert(offsetof(int4_group<32>, zero) == 2 && offsetof(int4_group<32>, codes) == 4);
  unsigned char bytes[20] = {0x00, 0x38, 0x00, 0xc0, 0xa1};  // 0.5, -2
  bytes[19] = 0x3f;
  int4_group<32> group;
  std::memcpy(static_cast<void*>(&group), bytes, sizeof group);
  EXPECT_EQ(group.value(0), -2.0f + 0.5f * 1);
  EXPECT_EQ(group.value(16), -2.0f + 0.5f * 10);
  EXPECT_EQ(group.value(15), -2.0f + 0.5f * 15);
  EXPECT_EQ(group.value(31), -2.0f + 0.5f * 3);
  EXPECT_EQ(group.value(1), -2.0f);
}

template <int Channels>
int4_group<Channels> some_group(std::uint32_t seed) {
  int4_group<Channels> group;
  group.scale = half(0.37f + 0.01f * static_cast<float>(seed));
  group.zero = half(-2.3f);
  for (index_t c = 0; c < Channels; ++c) {
    group.set_code(c, (static_cast<std::uint32_t>(c * 7 + c / 16) + seed) & 15u);
  }
  return group;
}

template <int Channels>
void expect_codes() {
  const int4_group<Channels> group = some_group<Channels>(3);
  for (index_t c = 0; c < Channels; ++c) {
    EXPECT_EQ(group.code(c), (static_cast<std::uint32_t>(c * 7 + c / 16) + 3) & 15u);
  }
}

TEST(int4, every_channel_has_a_code_of_its_own) {
  expect_codes<32>();
  expect_codes<64>();
}

template <class Isa, int Channels>
void expect_loads() {
  constexpr int n = relpos::lanes<Isa>;
  int4_group<Channels> row[128 / Channels];
  for (std::uint32_t i = 0; i < 128 / Channels; ++i) row[i] = some_group<Channels>(i);
  const auto value = [&](index_t c) { return row[c / Channels].value(c % Channels); };
  relpos::float_pack<Isa> all[128 / n];
  relpos::load_vectors<Isa>(row, 0, all);
  for (index_t c = 0; c < 128; c += n) {
    float together[n], alone[n];
    all[c / n].store(together);
    relpos::load_channels<Isa>(row, c).store(alone);
    for (index_t i = 0; i < n; ++i) {
      ASSERT_EQ(together[i], value(c + i)) << Isa::name << ", " << c + i;
      ASSERT_EQ(alone[i], value(c + i)) << Isa::name << ", " << c + i;
    }
  }
}

TEST(int4, loads) {
  expect_loads<relpos::native, 32>();
  expect_loads<relpos::native, 64>();
  expect_loads<relpos::generic<16>, 32>();
  expect_loads<relpos::generic<4>, 64>();
}

static_assert(relpos::cache_storage<int4_group<32>> && !relpos::storage<int4_group<32>>);
static_assert(relpos::grouped_storage<int4_group<64>> && !relpos::grouped_storage<half>);

}  // namespace
