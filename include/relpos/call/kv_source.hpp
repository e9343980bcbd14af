#pragma once
// Where the keys and values of a call are: views of the caller's tensors, or a cache. Kernels see
// these concepts alone, so that a new kind of cache (paged, ring, int8 with scales) is a new source
// of rows and never a second kernel.

#include <concepts>

#include "relpos/call/options.hpp"
#include "relpos/contract/rotation.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// `in_place(row)` is the row as contiguous floats where it can be read without copying, else null;
/// `load(row, to)` writes it as floats. The answer of in_place may differ from row to row.
template <class Source>
concept row_source = requires(const Source& source, index_t row, float* to) {
  { source.in_place(row) } -> std::same_as<const float*>;
  { source.load(row, to) } -> std::same_as<void>;
};

/// A row as contiguous floats: in place, or converted into `buffer`, which holds one.
template <row_source Source>
RELPOS_INLINE const float* read_row(const Source& source, index_t row, float* buffer) {
  if (const float* in_place = source.in_place(row)) return in_place;
  source.load(row, buffer);
  return buffer;
}

/// A row source that also tells where rows lie as they are stored.
///
///   stored                  the type of an element
///   are_contiguous()        whether the channels of each row are
///   find(first, count, to)  where they begin, for rows from `first` on, if they are
///   find_scales(first, count, to)      what multiplies them where `is_scaled` (8-bit storage)
template <class Rows>
concept stored_rows =
    row_source<Rows> && requires(const Rows& rows, index_t row, const typename Rows::stored** to) {
      { rows.are_contiguous() } -> std::same_as<bool>;
      rows.find(row, row, to);
      { Rows::is_scaled } -> std::convertible_to<bool>;
    } && (!Rows::is_scaled || requires(const Rows& rows, index_t row, float* to) {
      rows.find_scales(row, row, to);
    });

/// What concepts give to a function that calls what it is given.
struct takes_any {
  template <class T>
  constexpr void operator()(const T&) const {}
};
/// And to one that is a template over instruction sets.
struct any_isa {
  static constexpr int vector_bytes = 16;
};

/// What every source has:
///
///   batch(), key_heads(), head_dim(), value_dim()
///   length(sequence), longest()   rows; row r is at position r + key offset
///   lengths_are_equal()
///   keys<Isa>(sequence, head), values<Isa>(sequence, head)
///                                 stored_rows
///   holds_rotated_keys            keys were rotated when they were stored; where they were not,
///                                 all_rows() and rows_before(sequence) count them, for memory of
///                                 rotated keys
///   masks(options)                a tuple of policies that hide evicted rows
///   evicted(sequence)             the range of these rows
///   evicts                        whether there may be any; then also hidden(sequence, row), the
///                                 rows behind the sinks that the source hides from a query at the
///                                 position of `row`
///   check(q, options)             refuses what its parts cannot be, alone or with these queries
///   check_rotation(rows)          refuses a rotation of its keys; a source that takes all has none
///   memory_parts(use)             calls use(labelled_memory) for each part of its memory
template <class Source>
concept kv_source =
    requires(const Source& source, const options& opts, index_t at, const view<const float, 4>& q) {
      { source.batch() } -> std::same_as<index_t>;
      { source.key_heads() } -> std::same_as<index_t>;
      { source.head_dim() } -> std::same_as<index_t>;
      { source.value_dim() } -> std::same_as<index_t>;
      { source.length(at) } -> std::same_as<index_t>;
      { source.longest() } -> std::same_as<index_t>;
      { Source::holds_rotated_keys } -> std::convertible_to<bool>;
      { source.lengths_are_equal() } -> std::same_as<bool>;
      source.masks(opts);
      { source.evicted(at) } -> std::same_as<key_range>;
      { Source::evicts } -> std::convertible_to<bool>;
      { source.check(q, opts) } -> std::same_as<status>;
      source.memory_parts(takes_any());
      { source.template keys<any_isa>(at, at) } -> stored_rows;
      { source.template values<any_isa>(at, at) } -> stored_rows;
    } && (!Source::evicts || requires(const Source& source, index_t at) {
      { source.hidden(at, at) } -> std::same_as<key_range>;
    }) && (Source::holds_rotated_keys || requires(const Source& source, index_t at) {
      { source.all_rows() } -> std::same_as<index_t>;
      { source.rows_before(at) } -> std::same_as<index_t>;
    });

/// Its keys cannot have had just any rotation.
template <class Source>
concept judges_rotations =
    requires(const Source& source) { source.check_rotation(rotation_rows()); };

}  // namespace relpos::inline RELPOS_ABI
