#pragma once
// The memory that a view touches. Outputs must not share theirs with any other argument.

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>

#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The addresses of a block, or of all bytes from a view's lowest element to its highest.
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

/// The bytes of a view's elements, without the gaps between the elements.
struct strided_bytes {
  static constexpr int max_rank = 4;

  std::intptr_t address = 0;
  index_t element_size = 1;
  std::size_t rank = 0;
  std::array<index_t, max_rank> shape{};
  std::array<index_t, max_rank> strides{};  // in elements

  template <class T, int Rank>
  static strided_bytes of(const view<T, Rank>& array) {
    static_assert(Rank <= max_rank, "relpos: tensors that are checked have at most four axes");
    strided_bytes result{reinterpret_cast<std::intptr_t>(array.data), sizeof(T), Rank};
    std::copy(array.shape.begin(), array.shape.end(), result.shape.begin());
    std::copy(array.strides.begin(), array.strides.end(), result.strides.begin());
    return result;
  }
  /// The bytes [first, last), which are not a tensor.
  static strided_bytes of_range(std::intptr_t first, std::intptr_t last) {
    return {first, 1, 1, {last - first}, {1}};
  }

  bool is_empty() const {
    return std::any_of(shape.begin(), shape.begin() + rank, [](index_t n) { return n < 1; });
  }
};

/// Returns whether each stride is larger than the sum of the distances that the strides up to it
/// span; then no two elements share memory. `elements` must be addressable (is_addressable).
inline bool elements_are_distinct(const strided_bytes& elements) {
  const auto magnitude = [&](std::size_t axis) { return std::abs(elements.strides[axis]); };
  for (std::size_t axis = 0; axis < elements.rank; ++axis) {
    if (elements.shape[axis] <= 1) continue;
    index_t reach = 0;
    for (std::size_t other = 0; other < elements.rank; ++other) {
      const index_t extent = elements.shape[other];
      if (other == axis || extent <= 1 || magnitude(other) > magnitude(axis)) continue;
      reach += (extent - 1) * magnitude(other);
    }
    if (magnitude(axis) <= reach) return false;
  }
  return true;
}

/// The largest number of elements of a tensor, and the largest distance, in elements, between the
/// first and the last element of an axis.
inline constexpr index_t max_extent = index_t{1} << 56;

/// Returns whether the number and the distances of the elements are within max_extent, so that no
/// computation of an address overflows.
inline bool is_addressable(const strided_bytes& elements) {
  index_t count = 1;
  for (std::size_t axis = 0; axis < elements.rank; ++axis) {
    const index_t extent = elements.shape[axis];
    if (extent < 1) continue;
    index_t span = 0;
    if (__builtin_mul_overflow(count, extent, &count) || count > max_extent) return false;
    if (__builtin_mul_overflow(extent - 1, elements.strides[axis], &span)) return false;
    if (span < -max_extent || span > max_extent) return false;
  }
  return true;
}

}  // namespace relpos::inline RELPOS_ABI
