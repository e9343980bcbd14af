#pragma once

#include <algorithm>

#include "relpos/call/options.hpp"
#include "relpos/call/resident_rows.hpp"
#include "relpos/call/row_statistics.hpp"
#include "relpos/call/sequences.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// One sequence of a call.
struct call_sequence {
  index_t at;             // in the batch
  attention_shape shape;  // with a batch of one
  positions position;
  view<float, 3> lse;  // [1, head, query row], null where not asked for
  row_statistics statistics;
};

/// The lengths and positions of the sequences of a call, for any kv source and any masks.
class call_sequences {
 public:
  attention_shape shape;  // with the largest lengths of all sequences
  options opts;
  view<float, 3> lse;  // null where not asked for

  RELPOS_NOINLINE call_sequence sequence(index_t at) const {
    call_sequence one{at, shape_of(at), position_of(at), sequence_rows(lse, at, opts.query_starts),
                      opts.statistics};
    if (!opts.statistics.any()) return one;
    for (auto* const each :
         {&one.statistics.max_probability, &one.statistics.entropy, &one.statistics.logit_count,
          &one.statistics.logit_mean, &one.statistics.logit_variance}) {
      if (*each) *each = sequence_rows(**each, at, opts.query_starts);
    }
    return one;
  }

  attention_shape shape_of(index_t at) const {
    attention_shape of = shape;
    of.batch = 1;
    of.query_length = rows_of(at, shape.query_length, opts.query_starts).count;
    of.key_length = key_length(at);
    return of;
  }

  positions position_of(index_t at) const {
    const attention_shape of = shape_of(at);
    const index_t key_offset = opts.key_offsets.empty() ? opts.key_offset : opts.key_offsets[at];
    const index_t aligned_at_the_end = key_offset + of.key_length - of.query_length;
    const index_t query_offset = opts.query_offsets.empty()
                                     ? opts.query_offset.value_or(aligned_at_the_end)
                                     : opts.query_offsets[at];
    return {query_offset, key_offset};
  }

  /// Whether all sequences have the same lengths and offsets.
  bool is_uniform() const {
    return key_lengths_are_equal() && opts.query_starts.empty() && opts.query_offsets.empty() &&
           opts.key_offsets.empty();
  }

  /// The number of sequences to examine for values that depend only on lengths and offsets.
  index_t different_sequences() const {
    return is_uniform() ? std::min<index_t>(shape.batch, 1) : shape.batch;
  }

  /// The resident rows of a sequence.
  resident_rows resident_of(index_t at) const { return {key_length(at), pieces_apart(at)}; }

  /// Distances between any query and any key of a piece if positions are implicit: distances_of for
  /// one sequence, distances for all sequences.
  distance_range distances_of(index_t at, index_t piece = 0) const {
    const attention_shape of = shape_of(at);
    const key_range rows = resident_of(at).piece(piece);
    if (of.query_length == 0 || rows.last <= rows.first) return {};
    const positions from = position_of(at);
    return {from.key_offset + rows.first - (from.query_offset + of.query_length - 1),
            from.key_offset + rows.last - 1 - from.query_offset};
  }
  distance_range distances(index_t piece = 0) const {
    distance_range all;
    for (index_t at = 0; at < different_sequences(); ++at) all = hull(all, distances_of(at, piece));
    return all;
  }

  /// The largest number of rows that a sequence has in a piece.
  index_t longest_piece(index_t piece) const {
    index_t longest = 0;
    for (index_t at = 0; at < different_sequences(); ++at) {
      longest = std::max(longest, resident_rows::size(resident_of(at).piece(piece)));
    }
    return longest;
  }

  /// The rows that the source has evicted.
  virtual key_range evicted(index_t at) const = 0;
  /// The hull of the rows that range masks show to any query.
  virtual key_range seen_rows(index_t at) const = 0;

 protected:
  call_sequences(const attention_shape& of, const options& call_opts, const view<float, 3>& sums)
      : shape(of), opts(call_opts), lse(sums) {}
  call_sequences(const call_sequences&) = default;
  call_sequences& operator=(const call_sequences&) = default;
  ~call_sequences() = default;

  virtual index_t key_length(index_t at) const = 0;
  virtual bool key_lengths_are_equal() const = 0;
  /// The evicted rows that divide the others into pieces; empty if all others are one piece.
  virtual key_range pieces_apart(index_t at) const = 0;
};

}  // namespace relpos::inline RELPOS_ABI
