// How values get into the lanes of a pack and out of them.

#include "relpos/simd/pack.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace {

template <class Isa>
class pack_lanes : public testing::Test {};
using isas = testing::Types<relpos::native, relpos::generic<4>, relpos::generic<16>>;
TYPED_TEST_SUITE(pack_lanes, isas);

template <class Isa>
using float_pack = relpos::float_pack<Isa>;
template <class Isa>
using int_pack = relpos::int_pack<Isa>;
template <class Isa>
using word_pack = relpos::pack<std::uint32_t, Isa>;

template <class T, class Isa>
auto lanes_of(relpos::pack<T, Isa> x) {
  std::array<T, relpos::lanes<Isa>> lanes;
  x.store(lanes.data());
  return lanes;
}

TYPED_TEST(pack_lanes, bits_as_keeps_the_bits) {
  const std::array<std::uint32_t, 16> bits{0x3f800000u, 0xbf800000u, 0u,          0x80000000u,
                                           0x7f800000u, 0xff800000u, 1u,          0x80000001u,
                                           0x7fc00000u, 0xffc12345u, 0x00800000u, 0x12345678u,
                                           0xffffffffu, 0x7fffffffu, 0xcafe0000u, 0x0000beefu};
  constexpr auto n = static_cast<std::size_t>(relpos::lanes<TypeParam>);
  for (std::size_t first = 0; first < bits.size(); first += n) {
    const auto words = word_pack<TypeParam>::load(bits.data() + first);
    const auto lanes = lanes_of(words.template bits_as<float>().template bits_as<std::int32_t>());
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(static_cast<std::uint32_t>(lanes[i]), bits[first + i]);
    }
  }
}

TYPED_TEST(pack_lanes, one_value_fills_them_all) {
  for (const float x : lanes_of(float_pack<TypeParam>(-2.5f))) EXPECT_EQ(x, -2.5f);
  for (const auto x : lanes_of(int_pack<TypeParam>(-7))) EXPECT_EQ(x, -7);
  for (const auto x : lanes_of(word_pack<TypeParam>(0xfedcba98u))) EXPECT_EQ(x, 0xfedcba98u);
}

TYPED_TEST(pack_lanes, iota_counts_them) {
  const auto floats = lanes_of(float_pack<TypeParam>::iota());
  const auto ints = lanes_of(int_pack<TypeParam>::iota());
  for (std::size_t i = 0; i < floats.size(); ++i) {
    EXPECT_EQ(floats[i], static_cast<float>(i));
    EXPECT_EQ(ints[i], static_cast<std::int32_t>(i));
  }
}

TYPED_TEST(pack_lanes, any_finds_the_one_that_is_true) {
  using ints = int_pack<TypeParam>;
  EXPECT_FALSE(any(ints(0)));
  EXPECT_TRUE(any(ints(-1)));
  for (int lane = 0; lane < ints::size; ++lane) {
    EXPECT_TRUE(any(ints::iota() == ints(lane))) << lane;
  }
}

TYPED_TEST(pack_lanes, load_and_store_need_no_alignment_and_stay_inside) {
  constexpr auto n = static_cast<std::size_t>(relpos::lanes<TypeParam>);
  for (std::size_t offset = 0; offset < n; ++offset) {
    std::vector<float> from(offset + n);
    for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<float>(i) + 0.5f;
    std::vector<float> to(offset + n + 1, -1.0f);
    float_pack<TypeParam>::load(from.data() + offset).store(to.data() + offset);
    for (std::size_t i = 0; i < to.size(); ++i) {
      EXPECT_EQ(to[i], i < offset || i == offset + n ? -1.0f : from[i]);
    }
  }
}

TYPED_TEST(pack_lanes, are_as_many_as_the_instruction_set_says) {
  using floats = float_pack<TypeParam>;
  static_assert(floats::size == relpos::lanes<TypeParam>);
  static_assert(sizeof(floats) == TypeParam::vector_bytes);
  static_assert(std::is_same_v<typename floats::mask, int_pack<TypeParam>>);
}

}  // namespace
