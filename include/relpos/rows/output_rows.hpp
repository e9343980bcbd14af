#pragma once

#include <array>
#include <type_traits>

#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The outputs of one sequence, [1, head, row, channel], of any storage type.
class output_rows {
 public:
  template <class Out>
  explicit output_rows(const view<Out, 4>& tensor)
      : data_(tensor.data),
        strides_(tensor.strides),
        is_float_(std::is_same_v<Out, float>),
        convert_(&convert<Out>) {}

  /// The address of a row if it is contiguous floats, else null.
  float* in_place(index_t head, index_t row) const {
    if (!is_float_ || strides_[3] != 1) return nullptr;
    return static_cast<float*>(data_) + offset(head, row, 0);
  }

  /// Writes `count` channels of a row from `first` on.
  void write(index_t head, index_t row, index_t first, index_t count, const float* values) const {
    convert_(values, count, data_, offset(head, row, first), strides_[3]);
  }

 private:
  index_t offset(index_t head, index_t row, index_t channel) const {
    return head * strides_[1] + row * strides_[2] + channel * strides_[3];
  }
  template <class Out>
  static void convert(const float* values, index_t count, void* data, index_t start,
                      index_t stride) {
    Out* const out = static_cast<Out*>(data) + start;
    for (index_t i = 0; i < count; ++i) out[i * stride] = static_cast<Out>(values[i]);
  }

  void* data_;
  std::array<index_t, 4> strides_;
  bool is_float_;
  void (*convert_)(const float*, index_t, void*, index_t, index_t);
};

}  // namespace relpos::inline RELPOS_ABI
