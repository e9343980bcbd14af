#pragma once
// Sizes around the edges of everything that is done in blocks: vectors, strips, groups, tiles.

#include <vector>

#include "support/random_tensors.hpp"

namespace support {

/// Every pair of lengths, among them 0 and one past a tile of keys.
inline std::vector<sizes> odd_lengths() {
  std::vector<sizes> result;
  for (const index_t queries : {0, 1, 2, 15, 16, 17, 63, 64, 65, 129}) {
    for (const index_t keys : {0, 1, 2, 15, 16, 17, 63, 64, 65, 129}) {
      result.push_back({.batch = 1,
                        .query_heads = 2,
                        .key_heads = 1,
                        .query_length = queries,
                        .key_length = keys,
                        .head_dim = 8,
                        .value_dim = 3});
    }
  }
  return result;
}

/// Channel counts, and values that are wider or narrower than keys.
inline std::vector<sizes> odd_channels() {
  std::vector<sizes> result;
  constexpr index_t channels[][2] = {
      {1, 1},   {1, 3},  {3, 1},   {3, 8},     {8, 64},   {32, 32}, {64, 64},   {64, 17},
      {80, 80}, {96, 5}, {96, 96}, {128, 128}, {128, 33}, {5, 256}, {256, 256}, {256, 80}};
  for (const auto& [head_dim, value_dim] : channels) {
    result.push_back({.batch = 1,
                      .query_heads = 1,
                      .key_heads = 1,
                      .query_length = 65,
                      .key_length = 131,
                      .head_dim = head_dim,
                      .value_dim = value_dim});
  }
  return result;
}

/// Grouped-query ratios and batches.
inline std::vector<sizes> odd_heads() {
  std::vector<sizes> result;
  constexpr index_t heads[][2] = {{1, 1}, {3, 3}, {4, 2}, {6, 2}, {5, 1}, {8, 1}, {12, 4}};
  for (index_t batch = 1; batch <= 3; ++batch) {
    for (const auto& [query_heads, key_heads] : heads) {
      result.push_back({.batch = batch,
                        .query_heads = query_heads,
                        .key_heads = key_heads,
                        .query_length = 18,
                        .key_length = 33,
                        .head_dim = 8,
                        .value_dim = 8});
    }
  }
  return result;
}

}  // namespace support
