#pragma once
// How a kernel finds the row of a key or a value. Kernels know only this concept, so that a new
// kind of cache (paged, ring, int8 with scales) is a new row source and never a second kernel.

#include <concepts>

#include "relpos/core/index.hpp"
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

}  // namespace relpos::inline RELPOS_ABI
