#pragma once
// The slopes of ALiBi (Press, Smith, Lewis, arXiv 2108.12409): a geometric sequence over the heads
// that ends at 2^-max_bias.
//
// Two rules are published. They agree only if the number of heads is a power of two. With n heads,
// c = 2^floor(log2 n), B = max_bias:
//
//   interleaved (the authors' code; fairseq, BLOOM, MPT, ggml):
//              h <  c: 2^(-B (h + 1) / c),   h >= c: 2^(-(B / 2) (2 (h - c) + 1) / c)
//   geometric: 2^(-B (h + 1) / n) for every n

#include <bit>
#include <cmath>
#include <vector>

#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup slopes
/// @{

/// The rule by which slopes follow the number of heads.
enum class alibi_rule {
  interleaved,  ///< the authors' code; fairseq, BLOOM, MPT, ggml
  geometric     ///< one sequence for any number of heads
};

/// The heads [first, first + count) of `total`, as one shard of a tensor-parallel model holds them.
///
/// Heads from `total` on are padding, which makes all shards equally large: 66 heads on 8 ranks are
/// head_shard{9 * rank, 9, 66}.
struct head_shard {
  index_t first = 0;  ///< the first head of the shard, at least 0 and below `total`
  index_t count = 0;  ///< the heads of the shard, padding included, from 0 to 2^60
  index_t total = 0;  ///< the heads of the model

  /// Refuses numbers below 0, a count above 2^60, and a shard that is padding only: a rank that
  /// passes its own number of heads as `total` also makes one.
  status check() const {
    const bool counts = first >= 0 && count >= 0 && total >= 0;
    const bool begins_within = first < total || (count == 0 && first == total);
    if (counts && begins_within && count <= max_offset) return {};
    return status::error(
        status_code::invalid_value, "head_shard: first is %lld, count %lld, total %lld: %s",
        static_cast<long long>(first), static_cast<long long>(count), static_cast<long long>(total),
        !counts          ? "none may be negative"
        : !begins_within ? "first must be below total, the heads of all shards"
                         : "count must be at most 2^60");
  }
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

/// The slopes of a shard's heads. They are computed from the global number of heads, so that
/// sharding a model does not change them. Padding has slope 0, which keeps its output finite: a
/// server multiplies it by rows of zeros. The list is empty if shard.check() refuses; attention
/// then refuses the list.
inline std::vector<float> alibi_slopes(head_shard shard, alibi_rule rule = alibi_rule::interleaved,
                                       double max_bias = 8.0) {
  std::vector<float> slopes;
  if (!shard.check()) return slopes;
  slopes.reserve(static_cast<std::size_t>(shard.count));
  for (index_t head = shard.first; head < shard.first + shard.count; ++head) {
    const bool is_padding = head >= shard.total;
    slopes.push_back(is_padding ? 0.0f : alibi_slope(head, shard.total, rule, max_bias));
  }
  return slopes;
}

/// The slopes of all heads.
///
/// @snippet reference.cpp slopes
inline std::vector<float> alibi_slopes(index_t heads, alibi_rule rule = alibi_rule::interleaved,
                                       double max_bias = 8.0) {
  return alibi_slopes(head_shard{0, heads, heads}, rule, max_bias);
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
