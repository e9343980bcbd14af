#pragma once
// The mask of padding behind: sequences of different lengths in one batch, as encoders and
// cross-attention read them.

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup batches
/// @{

/// The mask of padding behind sequences of different lengths, for encoders and cross-attention.
///
/// `right_padding{lengths}`: in each entry of the batch, keys at positions from lengths[batch] on
/// are padding, which no query sees.
///
///   k_pos < lengths[batch]
///
/// Queries have no part in it, so it serves cross-attention too. Queries that are padding
/// themselves see the keys before it, and their outputs have no meaning: ragged batches
/// (options.query_starts) do not compute them.
///
/// `lengths` holds one relpos::index_t >= 0 per batch entry; the caller keeps it alive.
///
/// @snippet reference.cpp right_padding
struct right_padding {
  borrowed_values<index_t> lengths;  ///< [batch], from 0 to 2^60

  /// The lengths of all entries.
  constexpr right_padding(borrowed_values<index_t> batch_lengths) : lengths(batch_lengths) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_entry {
    index_t length;
    constexpr key_range visible_keys(index_t) const {
      return {key_range::everything().first, length};
    }
  };
  constexpr of_entry bind(index_t batch, index_t) const { return {lengths.data[batch]}; }

  status check(const attention_shape& shape) const {
    if (lengths.size != shape.batch) {
      return status::error(
          status_code::invalid_shape, "right_padding: %lld lengths for a batch of %lld",
          static_cast<long long>(lengths.size), static_cast<long long>(shape.batch));
    }
    return check_positions_of("right_padding", "lengths", lengths, 0);
  }
  bool reads(const byte_range& memory) const { return lengths.overlaps(memory); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
