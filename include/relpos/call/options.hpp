#pragma once
// What a call may say beyond its tensors and policies.

#include <optional>

#include "relpos/call/row_statistics.hpp"
#include "relpos/core/index_list.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The two kernels. Within one, and one instruction set, a row's bits depend on its own query, keys
/// and positions alone.
enum class kernel_class {
  automatic,  // decode for one query row, or up to 16 that share a key head; else prefill
  prefill,    // many queries: queries in the SIMD lanes, bound by arithmetic
  decode      // few queries: channels in the SIMD lanes, bound by reading keys and values
};

/// Given anywhere after the tensors, at most once: `options{.softcap = 30.0f, .lse = lse}`.
struct options {
  /// Multiplies q.k. Default 1 / sqrt(head_dim), or what a policy sets. Finite.
  std::optional<float> scale{};

  /// s = softcap tanh(s / softcap), after scale and before the bias; 0 is off.
  float softcap = 0.0f;

  /// The share of a row's sum of weights that may be missing from it, from 0 up to 1e-3: keys so
  /// far that a bias makes them negligible are left out in whole tiles. 0, the default, leaves out
  /// weights of exactly zero alone, which no bit shows; with more, a row's bits depend on the rows
  /// beside it.
  float tolerance = 0.0f;

  /// Where to write the natural-log sum of exponentials of each row, [batch, head, query]; -inf for
  /// a row that sees no key. Default: not written.
  std::optional<view<float, 3>> lse{};

  /// Largest probability, entropy and moments of the logits of each row. Default: none of them.
  row_statistics statistics{};

  /// Position of the first query row. Default: the queries are the last rows of the keys, as with a
  /// KV cache: key_offset + key_length - query_length.
  std::optional<index_t> query_offset{};

  /// Position of the first key row.
  index_t key_offset = 0;

  /// The same for each sequence of the batch, instead of those above.
  index_list query_offsets{};
  index_list key_offsets{};

  /// A ragged batch, without padding: cumulative lengths, from 0 to all rows, one more than there
  /// are sequences. The rows of sequence i are [starts[i], starts[i + 1]) of the one entry of q and
  /// out [1, head, row, channel], and of k and v. Policies count rows, and tables per sequence, as
  /// if each were padded to the longest.
  index_list query_starts{};
  index_list key_starts{};

  /// The kernel. By default the number of queries decides. Calls that ask for statistics take
  /// prefill.
  kernel_class kernel = kernel_class::automatic;
};

/// Query rows that share one pass over the keys and values of a head: those of all heads of a
/// group, for each query.
inline constexpr index_t decode_row_limit = 16;

/// Whether a sequence is one for decode.
inline bool is_decoded(const options& opts, const attention_shape& sequence) {
  if (opts.statistics.any() || sequence.key_heads == 0) return false;
  if (opts.kernel != kernel_class::automatic) return opts.kernel == kernel_class::decode;
  const index_t rows_of_key_head =
      sequence.query_length * (sequence.query_heads / sequence.key_heads);
  return sequence.query_length == 1 || rows_of_key_head <= decode_row_limit;
}

}  // namespace relpos::inline RELPOS_ABI
