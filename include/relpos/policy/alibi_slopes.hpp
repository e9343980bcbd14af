#pragma once
// The slopes of ALiBi (Press, Smith, Lewis, arXiv 2108.12409): a geometric sequence over the heads
// that ends at 2^-max_bias.
//
// For a head count that is no power of two there are two published rules, which agree only at powers
// of two. With n heads, c = 2^floor(log2 n), B = max_bias:
//   interleaved (the authors' code; fairseq, BLOOM, MPT, ggml):
//              h <  c: 2^(-B (h + 1) / c),   h >= c: 2^(-(B / 2) (2 (h - c) + 1) / c)
//   geometric: 2^(-B (h + 1) / n) for every n

#include <bit>
#include <cmath>
#include <vector>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

enum class alibi_rule { interleaved, geometric };

/// The heads [first, first + count) of `total`, as one shard of a tensor-parallel model holds them:
/// 0 <= first <= first + count <= total.
struct head_shard {
  index_t first = 0;
  index_t count = 0;
  index_t total = 0;
};

/// The slope of one head. 0 <= head < heads.
inline float alibi_slope(index_t head, index_t heads, alibi_rule rule = alibi_rule::interleaved,
                         double max_bias = 8.0) {
  const auto h = static_cast<double>(head);
  if (rule == alibi_rule::geometric) {
    return static_cast<float>(std::exp2(-max_bias * (h + 1.0) / static_cast<double>(heads)));
  }
  const auto c = static_cast<double>(std::bit_floor(static_cast<std::uint64_t>(heads)));
  const double exponent =
      h < c ? -max_bias * (h + 1.0) / c : -max_bias / 2.0 * (2.0 * (h - c) + 1.0) / c;
  return static_cast<float>(std::exp2(exponent));
}

/// The slopes of a shard's heads, out of the global count: sharding a model does not change them. None for
/// what is no shard; attention refuses those.
inline std::vector<float> alibi_slopes(head_shard shard, alibi_rule rule = alibi_rule::interleaved,
                                       double max_bias = 8.0) {
  std::vector<float> slopes;
  const bool is_shard = shard.first >= 0 && shard.count >= 0 && shard.first <= shard.total &&
                        shard.count <= shard.total - shard.first;
  if (!is_shard) return slopes;
  slopes.reserve(static_cast<std::size_t>(shard.count));
  for (index_t head = shard.first; head < shard.first + shard.count; ++head) {
    slopes.push_back(alibi_slope(head, shard.total, rule, max_bias));
  }
  return slopes;
}

/// The slopes of all heads.
inline std::vector<float> alibi_slopes(index_t heads, alibi_rule rule = alibi_rule::interleaved,
                                       double max_bias = 8.0) {
  return alibi_slopes(head_shard{0, heads, heads}, rule, max_bias);
}

}  // namespace relpos::inline RELPOS_ABI
