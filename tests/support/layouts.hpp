#pragma once
// The same elements at other places in memory.

#include <algorithm>
#include <array>
#include <vector>

#include "support/random_tensors.hpp"

namespace support {

/// A strided array inside of memory that is NaN wherever the array is not.
template <class T, std::size_t Rank = 4>
struct laid_out {
  std::array<index_t, Rank> shape;
  std::array<index_t, Rank> strides;
  std::vector<T> memory;
  std::size_t origin;

  static constexpr index_t margin = 64;

  laid_out(std::array<index_t, Rank> extents, std::array<index_t, Rank> steps)
      : shape(extents), strides(steps) {
    index_t low = 0;
    index_t high = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      const index_t span = (shape[axis] - 1) * strides[axis];
      (span < 0 ? low : high) += span;
    }
    memory.assign(static_cast<std::size_t>(high - low + 1 + 2 * margin), T(not_a_number));
    origin = static_cast<std::size_t>(margin - low);
  }

  relpos::view<T, static_cast<int>(Rank)> view() {
    return {memory.data() + origin, shape, strides};
  }
  relpos::view<const T, static_cast<int>(Rank)> view() const {
    return {memory.data() + origin, shape, strides};
  }
};

template <class T>
laid_out<T> lay_out(const tensor<T>& from, std::array<index_t, 4> strides) {
  laid_out<T> result(from.shape, strides);
  const auto to = result.view();
  for (index_t b = 0; b < from.shape[0]; ++b) {
    for (index_t h = 0; h < from.shape[1]; ++h) {
      for (index_t row = 0; row < from.shape[2]; ++row) {
        for (index_t c = 0; c < from.shape[3]; ++c) to(b, h, row, c) = from(b, h, row, c);
      }
    }
  }
  return result;
}

/// The elements of a strided array, one after another.
template <class T>
tensor<T> contiguous(const laid_out<T>& from) {
  tensor<T> result(from.shape);
  const auto read = from.view();
  for (index_t b = 0; b < from.shape[0]; ++b) {
    for (index_t h = 0; h < from.shape[1]; ++h) {
      for (index_t row = 0; row < from.shape[2]; ++row) {
        for (index_t c = 0; c < from.shape[3]; ++c) result(b, h, row, c) = read(b, h, row, c);
      }
    }
  }
  return result;
}

/// Strides of [batch, head, position, channel] over memory whose axes, from the slowest to the
/// fastest, are `order`, with `channel_step` between channels and `row_padding` elements after each
/// row of them.
inline std::array<index_t, 4> strides_of(const std::array<index_t, 4>& shape,
                                         const std::array<std::size_t, 4>& order,
                                         index_t channel_step = 1, index_t row_padding = 0) {
  std::array<index_t, 4> strides{};
  index_t step = channel_step;
  for (std::size_t i = 4; i-- > 0;) {
    strides[order[i]] = step;
    step = step * shape[order[i]] + (order[i] == 3 ? row_padding : 0);
  }
  return strides;
}

}  // namespace support
