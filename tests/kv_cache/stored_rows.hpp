#pragma once
// What is read of rows that a cache stores, by the definition of the storage.

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "relpos/core/storage.hpp"
#include "support/random_tensors.hpp"

namespace support {

/// A channel of int8 is a number of steps, of which the largest channel has 127.
template <class Stored>
void round_row(float* row, index_t channels) {
  float largest = 0.0f;
  for (index_t c = 0; c < channels; ++c) largest = std::max(largest, std::abs(row[c]));
  for (index_t c = 0; c < channels; ++c) {
    if constexpr (std::is_same_v<Stored, relpos::int8>) {
      const float scale = largest < 0x1p-118f ? 0.0f : largest / 127.0f;
      const double steps = static_cast<double>(row[c]) / static_cast<double>(scale);
      row[c] = scale > 0.0f ? static_cast<float>(std::nearbyint(steps)) * scale : 0.0f;
    } else {
      row[c] = static_cast<float>(Stored(row[c]));
    }
  }
}

template <class Stored>
tensor<float> stored(tensor<float> rows) {
  const index_t channels = rows.shape[3];
  for (auto row = rows.values.begin(); row != rows.values.end(); row += channels) {
    round_row<Stored>(&*row, channels);
  }
  return rows;
}

}  // namespace support
