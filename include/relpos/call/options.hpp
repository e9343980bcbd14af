#pragma once
// The options of a call, besides its tensors and policies.

#include <optional>

#include "relpos/call/row_statistics.hpp"
#include "relpos/core/index_list.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup options
/// @{

/// The choice between the two kernels.
///
/// With the same kernel and instruction set, the bits of a row depend only on its own query, keys
/// and positions.
enum class kernel_class {
  automatic,  ///< decode for one query row, or up to 16 that share a key head; else prefill
  prefill,    ///< many queries: queries in the SIMD lanes, bound by arithmetic
  decode      ///< few queries: channels in the SIMD lanes, bound by reading keys and values
};

/// The numbers that the two products of attention multiply.
///
/// Their sums, the softmax and all stages between are float32.
enum class arithmetic_type {
  float32,  ///< the default
  bfloat16  ///< queries, keys, values and weights are rounded to bfloat16 first
};

/// The options of a call: scale, softcap, outputs for each row, positions, kernel.
///
/// Given anywhere after the tensors, at most once: `options{.softcap = 30.0f, .lse = lse}`.
///
/// @snippet reference.cpp options
struct options {
  /// The factor of q.k, finite. Default: a policy's default_scale, else 1 / sqrt(head_dim).
  std::optional<float> scale{};

  /// s = softcap tanh(s / softcap), after scale and before the bias; finite, and 0 is off.
  float softcap = 0.0f;

  /// The share of a row's sum of weights that may be missing from it, from 0 to 1e-3: whole tiles
  /// of distant keys are left out if a bias makes their weights negligible. 0, the default, leaves
  /// out only weights that are exactly zero, which changes no bit. With a larger tolerance, the
  /// bits of a row depend on the rows beside it.
  float tolerance = 0.0f;

  /// The output for the natural-log sum of exponentials of each row, [batch, head, query]; -inf for
  /// a row that sees no key. Default: not written.
  std::optional<view<float, 3>> lse{};

  /// The outputs for largest probability, entropy and moments of the logits of each row. Default:
  /// not written.
  row_statistics statistics{};

  /// Position of the first query row. Default: the queries are the last rows of the keys, as with a
  /// KV cache: key_offset + key_length - query_length.
  std::optional<index_t> query_offset{};

  /// Position of the first key row.
  index_t key_offset = 0;

  /// [sequences]: one offset for each sequence of the batch, instead of query_offset.
  index_list query_offsets{};
  /// [sequences], instead of key_offset.
  index_list key_offsets{};

  /// The cumulative lengths of a ragged batch without padding, from 0 to the number of rows: one
  /// more than the number of sequences. The rows of sequence i are [starts[i], starts[i + 1]) of
  /// the one batch entry of q and out [1, head, row, channel], and of k and v. The rows of policies
  /// and their tables per sequence are indexed as if each sequence were padded to the longest.
  index_list query_starts{};
  /// The same for k and v, [sequences + 1].
  index_list key_starts{};

  /// The kernel. By default the number of queries decides. Calls with statistics always use
  /// prefill.
  kernel_class kernel = kernel_class::automatic;

  /// With bfloat16, k and v must hold bfloat16. It concerns the kernel prefill in code that is
  /// compiled for AVX512_BF16 or AMX; elsewhere, and in the kernel decode, which waits for memory,
  /// products are float32. A call that needs AMX asks the system for it, and is refused without it.
  /// GPUs always multiply the numbers of the tensors.
  arithmetic_type arithmetic = arithmetic_type::float32;
};

/// @}

/// The largest number of query rows that share one pass over the keys and values of a key head.
/// Each query counts once per query head of the group.
inline constexpr index_t decode_row_limit = 16;

/// Whether the kernel `decode` computes a sequence.
inline bool is_decoded(const options& opts, const attention_shape& sequence) {
  if (opts.statistics.any() || sequence.key_heads == 0) return false;
  if (opts.kernel != kernel_class::automatic) return opts.kernel == kernel_class::decode;
  const index_t rows_of_key_head =
      sequence.query_length * (sequence.query_heads / sequence.key_heads);
  return sequence.query_length == 1 || rows_of_key_head <= decode_row_limit;
}

}  // namespace relpos::inline RELPOS_ABI
