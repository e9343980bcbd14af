#pragma once
// The sequences of a call: their lengths, positions and distances, without the types of its
// tensors and policies.

#include <algorithm>
#include <optional>

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

  RELPOS_NOINLINE call_sequence sequence(index_t i) const {
    call_sequence result{i, shape_of(i), position_of(i), sequence_rows(lse, i, opts.query_starts),
                         opts.statistics};
    if (!opts.statistics.any()) return result;
    for (auto* const output : {&result.statistics.max_probability, &result.statistics.entropy,
                               &result.statistics.logit_count, &result.statistics.logit_mean,
                               &result.statistics.logit_variance}) {
      if (*output) *output = sequence_rows(**output, i, opts.query_starts);
    }
    return result;
  }

  attention_shape shape_of(index_t sequence) const {
    attention_shape sizes = shape;
    sizes.batch = 1;
    sizes.query_length = rows_of(sequence, shape.query_length, opts.query_starts).count;
    sizes.key_length = key_length(sequence);
    return sizes;
  }

  positions position_of(index_t sequence) const {
    const attention_shape sizes = shape_of(sequence);
    const index_t key_offset =
        opts.key_offsets.empty() ? opts.key_offset : opts.key_offsets[sequence];
    const index_t aligned_at_the_end = key_offset + sizes.key_length - sizes.query_length;
    const index_t query_offset = opts.query_offsets.empty()
                                     ? opts.query_offset.value_or(aligned_at_the_end)
                                     : opts.query_offsets[sequence];
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

  /// The largest number of keys that a query selects; nothing where queries attend to all keys that
  /// masks show.
  virtual std::optional<index_t> longest_selection() const = 0;

  /// The resident rows of a sequence.
  resident_rows resident_of(index_t sequence) const {
    return {key_length(sequence), pieces_apart(sequence)};
  }

  /// Distances between any query and any key of a piece if positions are implicit: distances_of for
  /// one sequence, distances for all sequences.
  distance_range distances_of(index_t sequence, index_t piece = 0) const {
    const attention_shape sizes = shape_of(sequence);
    const key_range rows = resident_of(sequence).piece(piece);
    if (sizes.query_length == 0 || rows.last <= rows.first) return {};
    const positions offsets = position_of(sequence);
    return {offsets.key_offset + rows.first - (offsets.query_offset + sizes.query_length - 1),
            offsets.key_offset + rows.last - 1 - offsets.query_offset};
  }
  distance_range distances(index_t piece = 0) const {
    distance_range range;
    for (index_t sequence = 0; sequence < different_sequences(); ++sequence) {
      range = hull(range, distances_of(sequence, piece));
    }
    return range;
  }

  /// The largest number of rows of any sequence in this piece (resident_rows::piece).
  index_t longest_piece(index_t piece) const {
    index_t longest = 0;
    for (index_t sequence = 0; sequence < different_sequences(); ++sequence) {
      longest = std::max(longest, resident_rows::size(resident_of(sequence).piece(piece)));
    }
    return longest;
  }

  /// The rows that the source has evicted.
  virtual key_range evicted(index_t sequence) const = 0;
  /// The hull of the rows that range masks show to any query.
  virtual key_range seen_rows(index_t sequence) const = 0;

 protected:
  call_sequences(const attention_shape& sizes, const options& call_opts, const view<float, 3>& sums)
      : shape(sizes), opts(call_opts), lse(sums) {}
  call_sequences(const call_sequences&) = default;
  call_sequences& operator=(const call_sequences&) = default;
  ~call_sequences() = default;

  virtual index_t key_length(index_t sequence) const = 0;
  virtual bool key_lengths_are_equal() const = 0;
  /// The evicted rows that divide the others into pieces; empty if all others are one piece.
  virtual key_range pieces_apart(index_t sequence) const = 0;
};

}  // namespace relpos::inline RELPOS_ABI
