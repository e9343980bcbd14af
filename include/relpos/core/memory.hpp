#pragma once
// Which memory a view touches: what outputs must share with nothing.

#include <algorithm>
#include <array>
#include <cstdint>

#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The address of every byte of a block, or of the bytes between a view's first and last element.
struct byte_range {
  std::intptr_t first = 0;
  std::intptr_t last = 0;

  static byte_range of(const void* data, std::size_t bytes) {
    const auto base = reinterpret_cast<std::intptr_t>(data);
    return {base, base + static_cast<std::intptr_t>(bytes)};
  }
  template <class T, int Rank>
  static byte_range of(const view<T, Rank>& array) {
    if (array.size() == 0) return {};
    index_t low = 0;
    index_t high = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      const index_t span = (array.shape[axis] - 1) * array.strides[axis];
      (span < 0 ? low : high) += span;
    }
    const auto size = static_cast<index_t>(sizeof(T));
    const auto base = reinterpret_cast<std::intptr_t>(array.data);
    return {base + low * size, base + (high + 1) * size};
  }
  bool overlaps(const byte_range& other) const { return first < other.last && other.first < last; }
};

/// No two elements share memory: the strides, from the smallest, each step over all that is below.
template <class T, int Rank>
bool elements_are_distinct(const view<T, Rank>& array) {
  std::array<std::size_t, static_cast<std::size_t>(Rank)> order{};
  for (std::size_t axis = 0; axis < Rank; ++axis) order[axis] = axis;
  const auto magnitude = [&](std::size_t axis) {
    return array.strides[axis] < 0 ? -array.strides[axis] : array.strides[axis];
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return magnitude(a) < magnitude(b); });
  index_t reach = 0;
  for (const std::size_t axis : order) {
    if (array.shape[axis] <= 1) continue;
    if (magnitude(axis) <= reach) return false;
    reach += (array.shape[axis] - 1) * magnitude(axis);
  }
  return true;
}

/// No element of a tensor is further from the first, nor is there a tensor of more elements.
inline constexpr index_t max_extent = index_t{1} << 56;

/// Number and distance of the elements are such that no computation of an address overflows.
template <class T, int Rank>
constexpr bool is_addressable(const view<T, Rank>& array) {
  index_t count = 1;
  for (std::size_t axis = 0; axis < Rank; ++axis) {
    const index_t extent = array.shape[axis];
    if (extent < 1) continue;
    index_t span = 0;
    if (__builtin_mul_overflow(count, extent, &count) || count > max_extent) return false;
    if (__builtin_mul_overflow(extent - 1, array.strides[axis], &span)) return false;
    if (span < -max_extent || span > max_extent) return false;
  }
  return true;
}

}  // namespace relpos::inline RELPOS_ABI
