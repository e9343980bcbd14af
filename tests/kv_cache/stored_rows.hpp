#pragma once
// The numbers that a cache's stored rows stand for, by the definition of the storage.

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "relpos/core/storage.hpp"
#include "support/random_tensors.hpp"
#include "support/stored_formats.hpp"

namespace support {

/// The nearest number of a float8 format, ties to the even code.
template <class Stored>
double nearest_float8(double x) {
  static const std::vector<double> numbers = float8_numbers<Stored>();
  const double magnitude = std::abs(x);
  const auto above = std::lower_bound(numbers.begin(), numbers.end() - 1, magnitude);
  if (above == numbers.begin()) return std::copysign(0.0, x);
  const double up = *above - magnitude;
  const double down = magnitude - *(above - 1);
  const bool is_upper = up < down || (up == down && (above - numbers.begin()) % 2 == 0);
  return std::copysign(*(is_upper ? above : above - 1), x);
}

/// A channel of int8 is a number of steps, of which the largest channel has 127. Channels of float8
/// are divided by the least power of two under which the largest is a number of the format.
/// The nearest half on one side of x, by a search among all of them.
inline double half_beside(double x, bool below) {
  static const std::vector<double> halves = [] {
    std::vector<double> result;
    for (std::uint32_t bits = 0; bits < 0x7c00u; ++bits) {
      result.push_back(meaning<relpos::half>(bits));
      result.push_back(-meaning<relpos::half>(bits));
    }
    std::sort(result.begin(), result.end());
    return result;
  }();
  const auto above = std::lower_bound(halves.begin(), halves.end(), x);
  return *above == x || !below ? *above : *(above - 1);
}

/// Groups of int4 have 16 values, from a half below their least channel to beyond their largest.
template <class Group>
void round_groups(float* row, index_t channels) {
  constexpr index_t size = relpos::storage_traits<Group>::channels;
  for (float* group = row; group < row + channels; group += size) {
    const auto [least, most] = std::minmax_element(group, group + size);
    const double zero = half_beside(*least, true);
    const double scale = half_beside((*most - static_cast<float>(zero)) / 15.0f, false);
    for (index_t c = 0; c < size; ++c) {
      const float steps = (group[c] - static_cast<float>(zero)) / static_cast<float>(scale);
      const double code = scale > 0.0 ? std::clamp(std::nearbyint(steps), 0.0f, 15.0f) : 0.0;
      group[c] = static_cast<float>(zero + scale * code);
    }
  }
}

template <class Stored>
void round_row(float* row, index_t channels) {
  float largest = 0.0f;
  for (index_t c = 0; c < channels; ++c) largest = std::max(largest, std::abs(row[c]));
  for (index_t c = 0; c < channels; ++c) {
    if constexpr (std::is_same_v<Stored, relpos::int8>) {
      const float scale = largest < 0x1p-118f ? 0.0f : largest / 127.0f;
      const double steps = static_cast<double>(row[c]) / static_cast<double>(scale);
      row[c] = scale > 0.0f ? static_cast<float>(std::nearbyint(steps)) * scale : 0.0f;
    } else if constexpr (sizeof(Stored) == 1) {
      if (largest < 0x1p-118f) {
        row[c] = 0.0f;
        continue;
      }
      static const double most = float8_numbers<Stored>().back();
      const double scale = std::exp2(std::ceil(std::log2(static_cast<double>(largest) / most)));
      row[c] =
          static_cast<float>(nearest_float8<Stored>(static_cast<double>(row[c]) / scale) * scale);
    } else {
      row[c] = static_cast<float>(Stored(row[c]));
    }
  }
}

template <class Stored>
tensor<float> stored(tensor<float> rows) {
  const index_t channels = rows.shape[3];
  for (auto row = rows.values.begin(); row != rows.values.end(); row += channels) {
    if constexpr (relpos::grouped_storage<Stored>) {
      round_groups<Stored>(&*row, channels);
    } else {
      round_row<Stored>(&*row, channels);
    }
  }
  return rows;
}

}  // namespace support
