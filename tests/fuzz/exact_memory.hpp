#pragma once
// Arguments of fuzzed calls: numbers that are mostly small and sometimes extreme, and memory with
// no byte to spare, so that AddressSanitizer sees every access outside.

#include <fuzzer/FuzzedDataProvider.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "relpos/core/storage.hpp"

namespace fuzzing {

using provider = FuzzedDataProvider;

/// Ends the program if a promise does not hold, with assertions off too.
inline void require(bool holds, const char* promise, const char* message = "") {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s (%s)\n", promise, message);
  __builtin_trap();
}

/// A number at which sums or products overflow, or one next to it.
inline std::int64_t extreme_number(provider& bytes) {
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  switch (bytes.ConsumeIntegralInRange(0, 5)) {
    case 0:
      return largest - bytes.ConsumeIntegralInRange(0, 3);
    case 1:
      return -largest - 1 + bytes.ConsumeIntegralInRange(0, 3);
    case 2:
      return std::int64_t{1} << bytes.ConsumeIntegralInRange(8, 62);
    case 3:
      return -(std::int64_t{1} << bytes.ConsumeIntegralInRange(0, 62));
    case 4:
      return bytes.ConsumeIntegralInRange(-3, 70);
    default:
      return bytes.ConsumeIntegral<std::int64_t>();
  }
}

/// A float that checks have to find, or an ordinary one.
inline float extreme_float(provider& bytes) {
  constexpr float numbers[] = {0.0f,
                               -0.0f,
                               1.0f,
                               -1.0f,
                               1e-45f,
                               1e-38f,
                               3e38f,
                               -3e38f,
                               1e30f,
                               -1e30f,
                               0.5f,
                               20.0f,
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN()};
  return bytes.PickValueInArray(numbers);
}

/// Numbers in [-1, 1) that depend on a seed alone.
class number_stream {
 public:
  explicit number_stream(std::uint32_t seed) : state_(seed * 2654435761u + 1u) {}
  float next() {
    state_ = state_ * 1664525u + 1013904223u;
    return static_cast<float>(state_ >> 8) * 0x1p-23f - 1.0f;
  }

 private:
  std::uint32_t state_;
};

/// `count` numbers on the heap, and nothing around them.
template <class T>
class exact_array {
 public:
  exact_array() = default;
  explicit exact_array(std::size_t count)
      : count_(count), numbers_(static_cast<T*>(std::malloc(count * sizeof(T)))) {
    std::memset(static_cast<void*>(numbers_.get()), 0xff, bytes());
  }

  T* data() { return numbers_.get(); }
  const T* data() const { return numbers_.get(); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }
  T& operator[](std::size_t i) { return numbers_.get()[i]; }
  const T& operator[](std::size_t i) const { return numbers_.get()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + count_; }

  /// A copy, by which a later comparison tells whether anything was written.
  std::vector<unsigned char> image() const {
    const auto* const first = reinterpret_cast<const unsigned char*>(data());
    return {first, first + bytes()};
  }
  bool is(const std::vector<unsigned char>& image) const {
    return bytes() == 0 || std::memcmp(data(), image.data(), bytes()) == 0;
  }

 private:
  struct release {
    void operator()(T* memory) const { std::free(memory); }
  };
  std::size_t count_ = 0;
  std::unique_ptr<T, release> numbers_;
};

/// The largest number of elements, and of places for them, that a fuzzed tensor gets memory for.
inline constexpr std::int64_t largest_tensor = 1 << 13;
inline constexpr std::int64_t largest_span = 1 << 15;

/// A tensor of any shape and strides, in memory from its lowest element to its highest. Gaps
/// between elements are NaN. A tensor too large for that has no memory, and `fits` is false.
template <class T, std::size_t Rank = 4>
struct exact_tensor {
  using numbers = std::array<std::int64_t, Rank>;

  numbers shape{};
  numbers strides{};
  bool fits = false;
  exact_array<T> memory;
  T* data = nullptr;  // the first element

  exact_tensor() = default;
  exact_tensor(const numbers& extents, const numbers& steps) : shape(extents), strides(steps) {
    bool is_empty = false;
    for (const std::int64_t extent : shape) {
      if (extent < 0) return;
      is_empty = is_empty || extent == 0;
    }
    std::int64_t low = 0, high = 0, count = is_empty ? 0 : 1;
    for (std::size_t axis = 0; axis < Rank && !is_empty; ++axis) {
      std::int64_t span = 0;
      if (__builtin_mul_overflow(shape[axis] - 1, strides[axis], &span)) return;
      if (span >= largest_span || span <= -largest_span) return;
      (span < 0 ? low : high) += span;
      if (__builtin_mul_overflow(count, shape[axis], &count) || count > largest_tensor) return;
    }
    if (high - low >= largest_span) return;
    fits = true;
    memory = exact_array<T>(is_empty ? 0 : static_cast<std::size_t>(high - low + 1));
    data = memory.data() - low;
  }

  /// Calls use(element) for each element.
  template <class Use>
  void for_each(const Use& use) {
    if (!fits) return;
    for (const std::int64_t extent : shape) {
      if (extent == 0) return;
    }
    numbers place{};
    for (;;) {
      std::int64_t offset = 0;
      for (std::size_t axis = 0; axis < Rank; ++axis) offset += place[axis] * strides[axis];
      use(data[offset]);
      std::size_t axis = Rank;
      while (axis > 0 && ++place[axis - 1] == shape[axis - 1]) place[--axis] = 0;
      if (axis == 0) return;
    }
  }
  void fill(number_stream& numbers_from) {
    for_each([&](T& element) { element = static_cast<T>(numbers_from.next()); });
  }

  /// Whether, since `image` was taken of the memory, only elements have changed and no byte between
  /// them.
  bool has_intact_gaps(const std::vector<unsigned char>& image) {
    auto after = memory.image();
    const auto* const first = reinterpret_cast<const unsigned char*>(memory.data());
    for_each([&](T& element) {
      const auto at = reinterpret_cast<const unsigned char*>(&element) - first;
      std::memcpy(after.data() + at, image.data() + at, sizeof element);
    });
    return after == image;
  }

  template <class... Places>
  T& operator()(Places... places) const {
    std::int64_t offset = 0;
    std::size_t axis = 0;
    ((offset += static_cast<std::int64_t>(places) * strides[axis++]), ...);
    return data[offset];
  }
};

/// Strides of a layout: axes in any order, channels perhaps apart, rows perhaps padded, some axes
/// reversed or, where the tensor is read, broadcast.
inline std::array<std::int64_t, 4> any_strides(provider& bytes,
                                               const std::array<std::int64_t, 4>& shape,
                                               bool is_written) {
  constexpr std::size_t orders[][4] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {2, 0, 1, 3},
                                       {0, 1, 3, 2}, {1, 0, 2, 3}, {3, 2, 1, 0}};
  std::array<std::int64_t, 4> strides{};
  const auto kind = bytes.ConsumeIntegral<std::uint8_t>();
  const auto& order = orders[kind < 128 ? 0 : kind % 6];
  const auto twist = bytes.ConsumeIntegral<std::uint8_t>();
  std::uint64_t step = twist % 8 == 7 ? 2 : 1;  // modulo 2^64: shapes may be any numbers
  for (std::size_t i = 4; i-- > 0;) {
    strides[order[i]] = static_cast<std::int64_t>(step);
    step *= static_cast<std::uint64_t>(shape[order[i]] > 0 ? shape[order[i]] : 1);
    if (i == 3) step += twist / 8 % 4 == 3 ? 3 : 0;
  }
  std::int64_t& stride = strides[twist / 32 % 4];
  if (kind % 16 == 15) stride = static_cast<std::int64_t>(-static_cast<std::uint64_t>(stride));
  if (kind % 16 == 14 && !is_written) stride = 0;
  return strides;
}

}  // namespace fuzzing
