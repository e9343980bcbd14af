#pragma once
// Sources of the keys and values of a call: views of the caller's tensors, or a cache. Kernels use
// only these concepts, so that a new kind of cache (paged, ring, int8 with scales) is a new source
// of rows and never a second kernel.

#include <concepts>
#include <utility>

#include "relpos/call/options.hpp"
#include "relpos/contract/rotation.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// `in_place(row)` returns the row as contiguous floats if it can be read without copying, else
/// null; `load(row, out)` writes the row to `out` as floats. in_place may return null for some rows
/// and not for others.
template <class Source>
concept row_source = requires(const Source& source, index_t row, float* out) {
  { source.in_place(row) } -> std::same_as<const float*>;
  { source.load(row, out) } -> std::same_as<void>;
};

/// A row as contiguous floats: in place, or converted into `buffer`, which has room for one row.
template <row_source Source>
RELPOS_INLINE const float* read_row(const Source& source, index_t row, float* buffer) {
  if (const float* in_place = source.in_place(row)) return in_place;
  source.load(row, buffer);
  return buffer;
}

/// A row source that also provides the addresses of rows as they are stored.
///
///   stored                  the type of an element
///   is_scaled               whether elements are multiples of scales (8-bit storage): one for each
///                           row, or for each channel of all rows, if has_channel_scales()
///   are_contiguous()        whether the channels of each row are contiguous
///   find(first, count, out) writes the addresses of rows [first, first + count) to `out`, if their
///                           channels are contiguous
///   find_scales(first, count, out), channel_scale(channel)
///                           the scales of these rows, the scale of a channel
template <class Rows>
concept stored_rows =
    row_source<Rows> && requires(const Rows& rows, index_t row, const typename Rows::stored** out) {
      { rows.are_contiguous() } -> std::same_as<bool>;
      rows.find(row, row, out);
      { Rows::is_scaled } -> std::convertible_to<bool>;
    } && (!Rows::is_scaled || requires(const Rows& rows, index_t row, float* out) {
      { rows.has_channel_scales() } -> std::same_as<bool>;
      { rows.channel_scale(row) } -> std::same_as<float>;
      rows.find_scales(row, row, out);
    });

/// Stands for the caller's callback where a concept tests a function that takes one, such as
/// memory_parts.
struct takes_any {
  template <class T>
  constexpr void operator()(const T&) const {}
};
/// Stands for the instruction set where a concept tests a template over instruction sets.
struct any_isa {
  static constexpr int vector_bytes = 16;
};

/// A source of keys and values. Its members:
///
///   batch(), key_heads(), head_dim(), value_dim()
///   length(sequence), longest()   numbers of rows; row r is at position r + key offset
///   lengths_are_equal()
///   keys<Isa>(sequence, head), values<Isa>(sequence, head)
///                                 stored_rows
///   holds_rotated_keys            whether keys were rotated when they were stored. If not,
///                                 all_rows() and rows_before(sequence) count the rows of all
///                                 sequences and of those before one, for memory of rotated keys
///   masks(options)                a tuple of policies that hide evicted rows
///   evicted(sequence)             the range of evicted rows
///   evicts                        whether rows may be evicted; then also hidden(sequence, row):
///                                 the rows behind the sinks that the source hides from a query at
///                                 the position of `row`
///   check(q, options)             refuses invalid parts of the source, and queries that do not fit
///                                 it; nothing else checks the queries: begin with check_queries
///   check_rotation(rows)          refuses a rotation that its keys cannot have had; absent if the
///                                 source accepts all rotations
///   memory_parts(use)             calls use(labelled_memory) for each part of its memory
template <class Source>
concept kv_source =
    requires(const Source& source, const options& opts, index_t i, const view<const float, 4>& q) {
      { source.batch() } -> std::same_as<index_t>;
      { source.key_heads() } -> std::same_as<index_t>;
      { source.head_dim() } -> std::same_as<index_t>;
      { source.value_dim() } -> std::same_as<index_t>;
      { source.length(i) } -> std::same_as<index_t>;
      { source.longest() } -> std::same_as<index_t>;
      { Source::holds_rotated_keys } -> std::convertible_to<bool>;
      { source.lengths_are_equal() } -> std::same_as<bool>;
      source.masks(opts);
      { source.evicted(i) } -> std::same_as<key_range>;
      { Source::evicts } -> std::convertible_to<bool>;
      { source.check(q, opts) } -> std::same_as<status>;
      source.memory_parts(takes_any());
      { source.template keys<any_isa>(i, i) } -> stored_rows;
      { source.template values<any_isa>(i, i) } -> stored_rows;
    } && (!Source::evicts || requires(const Source& source, index_t i) {
      { source.hidden(i, i) } -> std::same_as<key_range>;
    }) && (Source::holds_rotated_keys || requires(const Source& source, index_t i) {
      { source.all_rows() } -> std::same_as<index_t>;
      { source.rows_before(i) } -> std::same_as<index_t>;
    });

/// Whether the keys and the values of a source are bfloat16 numbers.
template <class Source>
inline constexpr bool holds_bfloat16 = [] {
  using keys = decltype(std::declval<const Source&>().template keys<any_isa>(0, 0));
  using values = decltype(std::declval<const Source&>().template values<any_isa>(0, 0));
  return std::same_as<typename keys::stored, bfloat16> &&
         std::same_as<typename values::stored, bfloat16>;
}();

/// A source that refuses some rotations of its keys.
template <class Source>
concept judges_rotations =
    requires(const Source& source) { source.check_rotation(rotation_rows()); };

}  // namespace relpos::inline RELPOS_ABI
