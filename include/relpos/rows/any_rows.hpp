#pragma once

#include <algorithm>

#include "relpos/call/kv_source.hpp"

namespace relpos::inline RELPOS_ABI {

/// The stored keys or values of one head, from any source: contiguous or strided tensors, pages, a
/// ring. Refers to the rows that it is constructed from.
template <class Stored>
class any_rows {
 public:
  template <stored_rows Rows>
    requires std::same_as<typename Rows::stored, Stored>
  explicit any_rows(const Rows& rows)
      : rows_(&rows),
        are_contiguous_(rows.are_contiguous()),
        find_([](const void* of, index_t first, index_t count, const Stored** to) {
          static_cast<const Rows*>(of)->find(first, count, to);
        }),
        copy_([](const void* of, index_t row, index_t channels, float* to) {
          const Rows& source = *static_cast<const Rows*>(of);
          if (const float* const from = source.in_place(row)) {
            std::copy(from, from + channels, to);
          } else {
            source.load(row, to);
          }
        }) {
    if constexpr (Rows::is_scaled) {
      find_scales_ = [](const void* of, index_t first, index_t count, float* to) {
        static_cast<const Rows*>(of)->find_scales(first, count, to);
      };
    }
  }

  bool are_contiguous() const { return are_contiguous_; }
  bool are_scaled() const { return find_scales_ != nullptr; }

  void find(index_t first, index_t count, const Stored** to) const {
    find_(rows_, first, count, to);
  }
  void find_scales(index_t first, index_t count, float* to) const {
    find_scales_(rows_, first, count, to);
  }
  /// One row as floats.
  void copy(index_t row, index_t channels, float* to) const { copy_(rows_, row, channels, to); }

 private:
  const void* rows_;
  bool are_contiguous_;
  void (*find_)(const void*, index_t, index_t, const Stored**);
  void (*find_scales_)(const void*, index_t, index_t, float*) = nullptr;
  void (*copy_)(const void*, index_t, index_t, float*);
};

}  // namespace relpos::inline RELPOS_ABI
