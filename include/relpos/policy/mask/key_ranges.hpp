#pragma once
// A range of keys for each position, as a list: masks that differ between the entries of a batch,
// and masks that data decides. Nothing of query_length x key_length is stored.

//   // Images whose tokens see each other, in a text that is causal (Gemma 3).
//   std::vector<relpos::index_t> first(length, 0), last(length);
//   for (relpos::index_t i = 0; i < length; ++i) last[i] = i + 1;
//   for (const auto& [begin, end] : images) std::fill(&last[begin], &last[end], end);
//   const relpos::key_ranges mask{relpos::view<const relpos::index_t, 2>(first.data(), {1, length}),
//                                 relpos::view<const relpos::index_t, 2>(last.data(), {1, length})};
//
// Beside a window, as in Gemma 3's local layers, it needs `band{w - 1, length}`: `sliding_window`
// hides all later keys.

#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup masks
/// @{

/// A mask by a range of keys for each position, as two lists.
///
/// `key_ranges{first, last}`: views or tensors of relpos::index_t, [batch or 1, position].
///
///   first[batch, q_pos] <= k_pos < last[batch, q_pos]
///
/// A query whose range is empty sees no key. Numbers are within +-2^60; positions count from 0, and
/// the lists hold the positions of all queries. The caller keeps them alive. The mask declares no
/// window to a ring: beside one, `band` does.
///
/// @copydoc key_ranges.hpp
/// @snippet reference.cpp key_ranges
struct key_ranges {
  view<const index_t, 2> first;  ///< [batch or 1, position]
  view<const index_t, 2> last;   ///< the same shape

  /// The first key of each position, and the one behind the last.
  constexpr key_ranges(view<const index_t, 2> first_keys, view<const index_t, 2> last_keys)
      : first(first_keys), last(last_keys) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_entry {
    const index_t* first;
    const index_t* last;
    index_t first_stride, last_stride;
    constexpr key_range visible_keys(index_t q_pos) const {
      return {first[q_pos * first_stride], last[q_pos * last_stride]};
    }
  };
  constexpr of_entry bind(index_t batch, index_t) const {
    const index_t entry = first.shape[0] == 1 ? 0 : batch;
    return {first.data + entry * first.strides[0], last.data + entry * last.strides[0],
            first.strides[1], last.strides[1]};
  }

  status check(const attention_shape& shape) const {
    if (status valid = check_view("key_ranges: first", first); !valid) return valid;
    if (status valid = check_view("key_ranges: last", last); !valid) return valid;
    if (first.shape != last.shape) {
      return shapes_differ(
          "key_ranges: first and last must have the same shape, first is %s, last "
          "is %s",
          first.shape, last.shape);
    }
    if (first.shape[0] != shape.batch && first.shape[0] != 1) {
      return status::error(
          status_code::invalid_shape,
          "key_ranges: first and last are %s, must be [batch or 1, position] for a batch of %lld",
          shape_text(first.shape).text, static_cast<long long>(shape.batch));
    }
    return {};
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    for (index_t sequence = 0; sequence < call.shape.batch; ++sequence) {
      const index_t begin = call.position_of(sequence).query_offset;
      const index_t end = begin + call.shape_of(sequence).query_length;
      if (begin == end) continue;
      if (begin < 0 || first.shape[1] < end) {
        return status::error(
            status_code::invalid_shape,
            "key_ranges: first and last have %lld positions, but the queries of sequence %lld are "
            "at %lld to %lld",
            static_cast<long long>(first.shape[1]), static_cast<long long>(sequence),
            static_cast<long long>(begin), static_cast<long long>(end - 1));
      }
      const index_t entry = first.shape[0] == 1 ? 0 : sequence;
      if (status valid = check_numbers("first", first, entry, begin, end); !valid) return valid;
      if (status valid = check_numbers("last", last, entry, begin, end); !valid) return valid;
    }
    return {};
  }
  bool reads(const byte_range& memory) const {
    return byte_range::of(first).overlaps(memory) || byte_range::of(last).overlaps(memory);
  }

 private:
  /// Refuses a list that has a number out of range at positions [begin, end) of an entry.
  static status check_numbers(const char* name, const view<const index_t, 2>& numbers,
                              index_t entry, index_t begin, index_t end) {
    for (index_t position = begin; position < end; ++position) {
      const index_t number = numbers(entry, position);
      if (-max_offset <= number && number <= max_offset) continue;
      return status::error(status_code::invalid_value,
                           "key_ranges: %s is %lld at [%lld, %lld], must be within +-2^60", name,
                           static_cast<long long>(number), static_cast<long long>(entry),
                           static_cast<long long>(position));
    }
    return {};
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
