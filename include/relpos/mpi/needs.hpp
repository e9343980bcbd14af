#pragma once
// Which rows of keys a rank needs of each other: those that masks show its queries, and lists name.

#include <mpi.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "relpos/call/selected_rows.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/contract/mask.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/mpi/group.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// `piece` without the blocks at its ends that `is_needed` refuses, large ones first.
template <class IsNeeded>
key_range trim(key_range piece, const IsNeeded& is_needed) {
  for (const index_t block_rows : {1024, 128, 16, 2}) {
    while (!is_empty(piece)) {
      const key_range block{piece.first, std::min(piece.first + block_rows, piece.last)};
      if (is_needed(block)) break;
      piece.first = block.last;
    }
    while (!is_empty(piece)) {
      const key_range block{std::max(piece.last - block_rows, piece.first), piece.last};
      if (is_needed(block)) break;
      piece.last = block.first;
    }
  }
  return piece;
}

/// The hull of the positions in `keys` that lists of selected keys name for some row of a call.
template <class... Policies>
key_range selected_hull(const std::tuple<Policies...>& policies, const attention_shape& call,
                        const key_range& keys) {
  key_range named;
  with_selection(policies, [&](const auto& policy) {
    for (index_t batch = 0; batch < call.batch; ++batch) {
      for (index_t head = 0; head < call.key_heads; ++head) {
        for (index_t row = 0; row < call.query_length; ++row) {
          const selected_rows selected{policy.selection(batch, head, row)};
          const key_range places = selected.places(keys);
          if (!is_empty(places)) named = hull(named, selected.hull(places));
        }
      }
    }
  });
  return named;
}

/// The hull of the positions in `keys` that masks and lists show to some position in `queries`. Row 0
/// of each policy is the first of `queries`.
template <class... Policies>
key_range seen_keys(const std::tuple<Policies...>& policies, const attention_shape& call,
                    const key_range& queries, const key_range& keys) {
  if (is_empty(queries) || is_empty(keys) || call.query_heads == 0) return {};
  constexpr bool differs_by_entry = ((is_mask<Policies> && binds_batch<Policies>) || ... || false);
  const index_t entries = differs_by_entry ? call.batch : std::min(call.batch, index_t{1});
  attention_shape shape = call;
  shape.query_length = rows_of(queries);
  shape.key_length = rows_of(keys);
  key_range seen;
  for (index_t batch = 0; batch < entries; ++batch) {
    key_range rows = seen_rows(policies, batch, shape, {queries.first, keys.first});
    seen = hull(seen, {rows.first + keys.first, rows.last + keys.first});
  }
  if constexpr ((selects_keys<Policies> || ... || false)) {
    if (!is_empty(seen)) seen = selected_hull(policies, shape, seen);
  }
  if constexpr ((masks_elements<head_policy_of<Policies>> || ... || false)) {
    constexpr bool differs_by_head =
        ((masks_elements<head_policy_of<Policies>> && binds<Policies>) || ... || false);
    const index_t heads = differs_by_head ? call.query_heads : index_t{1};
    seen = trim(seen, [&](const key_range& block) {
      const tile region{queries.first, queries.last, block.first, block.last};
      for (index_t batch = 0; batch < entries; ++batch) {
        for (index_t head = 0; head < heads; ++head) {
          const auto masks = element_masks(bind_all(policies, batch, head));
          if (classify_all(masks, region) != tile_class::skip) return true;
        }
      }
      return false;
    });
  }
  return is_empty(seen) ? key_range{} : seen;
}

/// A table of ranges of positions, [rank][piece of keys][key head].
struct range_table {
  index_t pieces = 0;  // of the rank that has most
  index_t key_heads = 0;
  std::vector<key_range> ranges{};

  range_table() = default;
  range_table(const group& ranks, index_t heads) : key_heads(heads) {
    for (const auto& each : ranks.keys().pieces) {
      pieces = std::max(pieces, static_cast<index_t>(each.size()));
    }
    ranges.resize(static_cast<std::size_t>(ranks.size() * pieces * heads));
  }

  key_range& at(int rank, index_t piece, index_t head) {
    return ranges[static_cast<std::size_t>((rank * pieces + piece) * key_heads + head)];
  }
  const key_range& at(int rank, index_t piece, index_t head) const {
    return ranges[static_cast<std::size_t>((rank * pieces + piece) * key_heads + head)];
  }

  /// The hull over heads.
  key_range of_all_heads(int rank, index_t piece) const {
    key_range result;
    for (index_t head = 0; head < key_heads; ++head) result = hull(result, at(rank, piece, head));
    return result;
  }
};

/// Fills the table of what others need of this rank, from the table of what this rank needs of others.
/// Collective.
inline void exchange_tables(const group& ranks, const range_table& needed, range_table& result) {
  const auto bytes = static_cast<int>(static_cast<std::size_t>(needed.pieces * needed.key_heads) *
                                      sizeof(key_range));
  MPI_Alltoall(needed.ranges.data(), bytes, MPI_BYTE, result.ranges.data(), bytes, MPI_BYTE,
               ranks.communicator());
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
