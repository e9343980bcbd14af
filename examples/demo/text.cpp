#include "text.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace demo {

float fixed_numbers::next() {
  // SplitMix64 (Steele, Lea, Flood, 2014). The standard library's distributions differ by vendor.
  unsigned long long x = state_ += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  return static_cast<float>(static_cast<int>(x >> 40) - (1 << 23)) / static_cast<float>(1 << 23);
}

matrix fixed_numbers::next_matrix(int rows, int columns) {
  matrix result(rows, columns);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) result(i, j) = next();
  }
  return result;
}

namespace {

/// [1, head, position, channel] of rows [position, head * channel].
tensor split_heads(const matrix& rows) {
  tensor result(1, heads, rows.rows(), head_dim);
  for (Eigen::Index at = 0; at < rows.rows(); ++at) {
    for (int h = 0; h < heads; ++h) {
      for (int c = 0; c < head_dim; ++c) result(0, h, at, c) = rows(at, h * head_dim + c);
    }
  }
  return result;
}

}  // namespace

projections project(const std::string& text, input kind) {
  constexpr int width = 64;
  const auto length = static_cast<Eigen::Index>(text.size());
  fixed_numbers numbers(2023);
  const matrix embedding = numbers.next_matrix(256, width);
  matrix embedded(length, width);
  for (Eigen::Index at = 0; at < length; ++at) {
    embedded.row(at) =
        embedding.row(static_cast<unsigned char>(text[static_cast<std::size_t>(at)]));
  }
  if (kind == input::sinusoidal) {
    const view<float, 3> rows(embedded.data(), {1, length, width});
    const status done = add_sinusoidal(rows, sinusoidal_layout::interleaved);
    if (!done) throw std::runtime_error(done.message);
  }
  // A number of [-1, 1] has variance 1/3: this gives each channel variance 1.
  const float unit = 3.0f / std::sqrt(static_cast<float>(width));
  const auto rows = [&](float factor) -> tensor {
    const matrix weights = factor * unit * numbers.next_matrix(width, heads * head_dim);
    return split_heads(embedded * weights);
  };
  tensor q = rows(kind == input::unscaled ? 1.0f / std::sqrt(float{head_dim}) : 1.0f);
  tensor k = rows(1.0f);
  tensor v = rows(1.0f);
  return {std::move(q), std::move(k), std::move(v)};
}

}  // namespace demo
