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
        find_([](const void* source, index_t first, index_t count, const Stored** out) {
          static_cast<const Rows*>(source)->find(first, count, out);
        }),
        find_each_(
            [](const void* source, const index_t* numbers, index_t count, const Stored** out) {
              for (index_t i = 0; i < count; ++i) {
                static_cast<const Rows*>(source)->find(numbers[i], 1, out + i);
              }
            }),
        copy_([](const void* source, index_t row, index_t channels, float* out) {
          const Rows& stored = *static_cast<const Rows*>(source);
          if (const float* const data = stored.in_place(row)) {
            std::copy(data, data + channels, out);
          } else {
            stored.load(row, out);
          }
        }) {
    if constexpr (Rows::is_scaled) {
      if (rows.has_channel_scales()) {
        scale_channels_ = [](const void* source, index_t channels, float* values) {
          for (index_t c = 0; c < channels; ++c) {
            values[c] *= static_cast<const Rows*>(source)->channel_scale(c);
          }
        };
        return;
      }
      find_scales_ = [](const void* source, index_t first, index_t count, float* out) {
        static_cast<const Rows*>(source)->find_scales(first, count, out);
      };
    }
  }

  bool are_contiguous() const { return are_contiguous_; }
  /// Whether each row has a scale.
  bool are_scaled() const { return find_scales_ != nullptr; }

  void find(index_t first, index_t count, const Stored** out) const {
    find_(rows_, first, count, out);
  }
  /// Finds rows of any numbers.
  void find_each(const index_t* numbers, index_t count, const Stored** out) const {
    find_each_(rows_, numbers, count, out);
  }
  void find_scales(index_t first, index_t count, float* out) const {
    find_scales_(rows_, first, count, out);
  }
  /// Multiplies the values of channels by the scales of channels, if there are any.
  void scale_channels(index_t channels, float* values) const {
    if (scale_channels_ != nullptr) scale_channels_(rows_, channels, values);
  }
  /// One row as floats.
  void copy(index_t row, index_t channels, float* out) const { copy_(rows_, row, channels, out); }

 private:
  const void* rows_;
  bool are_contiguous_;
  void (*find_)(const void*, index_t, index_t, const Stored**);
  void (*find_each_)(const void*, const index_t*, index_t, const Stored**);
  void (*find_scales_)(const void*, index_t, index_t, float*) = nullptr;
  void (*scale_channels_)(const void*, index_t, float*) = nullptr;
  void (*copy_)(const void*, index_t, index_t, float*);
};

}  // namespace relpos::inline RELPOS_ABI
