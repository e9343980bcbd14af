#include "relpos/core/workspace.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace {

using relpos::arena;
using relpos::index_t;
using relpos::workspace;

struct piece {
  void* data;
  std::size_t bytes;
};

/// Pieces of different types and of awkward sizes, nothing included.
std::vector<piece> take_pieces(arena& memory) {
  std::vector<piece> pieces;
  const auto take = [&]<class T>(const T&, index_t count) {
    pieces.push_back({memory.take<T>(count), static_cast<std::size_t>(count) * sizeof(T)});
  };
  take(float{}, 1);
  take(double{}, 9);
  take(std::byte{}, 0);
  take(std::byte{}, 63);
  take(float{}, 16);
  take(std::byte{}, 65);
  take(float{}, 32);  // whole lines: its end is the end of the block
  return pieces;
}

std::uintptr_t address(const void* data) { return reinterpret_cast<std::uintptr_t>(data); }

TEST(arena, counts_without_memory) {
  arena counted;
  EXPECT_EQ(counted.bytes_taken(), 0u);
  for (const piece& each : take_pieces(counted)) EXPECT_EQ(each.data, nullptr);
  // Cache lines: 1 + 2 + 0 + 1 + 1 + 2 + 2, and what aligning the block can cost.
  EXPECT_EQ(counted.bytes_taken(), 9u * 64u + 63u);
}

TEST(arena, divides_what_it_counted_at_any_alignment) {
  arena counted;
  take_pieces(counted);
  const std::size_t bytes = counted.bytes_taken();
  std::vector<std::byte> block(bytes + 64);
  for (std::size_t offset = 0; offset < 64; ++offset) {
    std::byte* const begin = block.data() + offset;
    arena memory(workspace(begin, bytes));
    std::uintptr_t free_from = address(begin);
    for (const piece& each : take_pieces(memory)) {
      EXPECT_EQ(address(each.data) % arena::alignment, 0u);
      EXPECT_GE(address(each.data), free_from);
      free_from = address(each.data) + each.bytes;
    }
    EXPECT_LE(free_from, address(begin) + bytes);
    EXPECT_EQ(memory.bytes_taken(), bytes);
  }
}

TEST(arena, gives_no_two_pieces_the_same_cache_line) {
  std::vector<std::byte> block(1024);
  arena memory(workspace(block.data(), block.size()));
  const auto* const first = memory.take<std::byte>(1);
  const auto* const second = memory.take<std::byte>(1);
  EXPECT_EQ(second - first, 64);
}

TEST(arena, taking_nothing_costs_nothing) {
  arena counted;
  counted.take<float>(0);
  EXPECT_EQ(counted.bytes_taken(), 0u);
}

TEST(workspace, is_any_named_container_of_bytes) {
  std::vector<std::byte> vector(100);
  std::array<std::byte, 64> array;
  const workspace from_vector = vector;
  const workspace from_array = array;
  EXPECT_EQ(from_vector.data, vector.data());
  EXPECT_EQ(from_vector.bytes, 100u);
  EXPECT_EQ(from_array.data, array.data());
  EXPECT_EQ(from_array.bytes, 64u);
  static_assert(!std::is_convertible_v<std::vector<std::byte>, workspace>, "would dangle");
  static_assert(!std::is_convertible_v<std::vector<float>&, workspace>);
}

TEST(workspace, is_empty_by_default) {
  const workspace nothing;
  EXPECT_EQ(nothing.data, nullptr);
  EXPECT_EQ(nothing.bytes, 0u);
}

}  // namespace
