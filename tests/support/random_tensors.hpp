#pragma once
// Arrays of random numbers that are the same on every platform: std::mt19937 is specified to the
// bit, the distributions of the standard library are not.

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "relpos/core/storage.hpp"
#include "relpos/core/view.hpp"

namespace support {

using relpos::index_t;

class random_numbers {
 public:
  explicit random_numbers(std::uint32_t seed) : engine_(seed) {}

  /// In [-1, 1).
  float uniform() { return static_cast<float>(engine_() >> 8) * 0x1p-23f - 1.0f; }

  /// In [first, last].
  index_t between(index_t first, index_t last) {
    const std::uint64_t bits = std::uint64_t{engine_()} << 32 | engine_();
    return first + static_cast<index_t>(bits % static_cast<std::uint64_t>(last - first + 1));
  }

 private:
  std::mt19937 engine_;
};

/// A contiguous row-major array that owns its elements.
template <class T, std::size_t Rank = 4>
struct tensor {
  std::array<index_t, Rank> shape{};
  std::vector<T> values;

  tensor() = default;
  explicit tensor(std::array<index_t, Rank> extents, T value = T())
      : shape(extents), values(count(extents), value) {}

  relpos::view<T, static_cast<int>(Rank)> view() { return {values.data(), shape}; }
  relpos::view<const T, static_cast<int>(Rank)> view() const { return {values.data(), shape}; }

  template <class... Indices>
  T& operator()(Indices... at) {
    return values.data()[place_of(at...)];
  }
  template <class... Indices>
  const T& operator()(Indices... at) const {
    return values.data()[place_of(at...)];
  }

 private:
  /// Not by a view, whose element takes a dozen calls where little is inlined.
  template <class... Indices>
    requires(sizeof...(Indices) == Rank)
  std::size_t place_of(Indices... at) const {
    const index_t* extent = shape.data();
    index_t place = 0;
    ((place = place * *extent++ + static_cast<index_t>(at)), ...);
    return static_cast<std::size_t>(place);
  }

  static std::size_t count(const std::array<index_t, Rank>& extents) {
    std::size_t result = 1;
    for (const index_t extent : extents) result *= static_cast<std::size_t>(extent);
    return result;
  }
};

/// Elements in [-spread, spread).
template <class T = float>
tensor<T> random_tensor(std::array<index_t, 4> shape, std::uint32_t seed, float spread = 1.0f) {
  tensor<T> result(shape);
  random_numbers random(seed);
  for (T& value : result.values) value = static_cast<T>(random.uniform() * spread);
  return result;
}

inline constexpr float infinity = std::numeric_limits<float>::infinity();
inline constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

/// q, k and v of one call.
template <class T = float>
struct inputs {
  tensor<T> q;
  tensor<T> k;
  tensor<T> v;
};

struct sizes {
  index_t batch = 1;
  index_t query_heads = 1;
  index_t key_heads = 1;
  index_t query_length = 1;
  index_t key_length = 1;
  index_t head_dim = 8;
  index_t value_dim = 8;
};

/// Scores q.k / sqrt(head_dim) spread over a few units, so that a softmax is neither flat nor a
/// hard choice.
template <class T = float>
inputs<T> random_inputs(const sizes& of, std::uint32_t seed, float spread = 3.0f) {
  return {random_tensor<T>({of.batch, of.query_heads, of.query_length, of.head_dim}, seed, spread),
          random_tensor<T>({of.batch, of.key_heads, of.key_length, of.head_dim}, seed + 1),
          random_tensor<T>({of.batch, of.key_heads, of.key_length, of.value_dim}, seed + 2)};
}

}  // namespace support
