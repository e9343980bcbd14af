#pragma once
// Masks of calls of many shapes, against the visibility of every pair.

#include <functional>
#include <string>
#include <vector>

#include "support/attend.hpp"
#include "support/naive.hpp"

namespace support {

inline inputs<float> two_heads(index_t queries, index_t keys) {
  return support::random_inputs({.batch = 1,
                                 .query_heads = 2,
                                 .key_heads = 2,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 8,
                                 .value_dim = 5},
                                static_cast<std::uint32_t>(61 + queries + keys));
}

struct lengths {
  index_t queries;
  index_t keys;
};

inline constexpr lengths shapes[] = {{1, 1}, {1, 150}, {150, 1}, {70, 300}, {300, 70}, {129, 129}};

/// Where the first query stands: before, within, at the end of and after the keys.
inline std::vector<index_t> offsets(const lengths& of) {
  return {-of.queries - 3, -1, 0, of.keys - of.queries, of.keys - 1, of.keys + 40};
}

template <class... Masks>
void expect_visible(std::function<bool(index_t, index_t, index_t)> visible, const Masks&... masks) {
  for (const lengths& of : shapes) {
    const inputs<float> in = two_heads(of.queries, of.keys);
    for (const index_t query_offset : offsets(of)) {
      SCOPED_TRACE(std::to_string(of.queries) + " queries from " + std::to_string(query_offset) +
                   ", " + std::to_string(of.keys) + " keys");
      expect_means(attend(in, {.query_offset = query_offset}, masks...), in,
                   {.visible = visible, .query_offset = query_offset});
    }
  }
}

}  // namespace support
