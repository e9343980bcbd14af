#pragma once
// The rows of one head of a view: read in place if they are contiguous floats, converted otherwise.

#include <concepts>

#include "relpos/call/kv_source.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/core/view.hpp"
#include "relpos/simd/load_vectors.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// Converts `channels` numbers to floats.
template <class Isa, class Stored>
void load_row(const Stored* source, index_t channels, float* out) {
  index_t c = 0;
  if constexpr (loads_blocks<Isa, Stored>) {
    constexpr int vectors = block_ops<Isa, Stored>::vectors;
    for (; c + vectors * lanes<Isa> <= channels; c += vectors * lanes<Isa>) {
      float_pack<Isa> block[vectors];
      load_vectors<Isa>(source, c, block);
      for (int v = 0; v < vectors; ++v) block[v].store(out + c + v * lanes<Isa>);
    }
  }
  for (; c + lanes<Isa> <= channels; c += lanes<Isa>) {
    load_channels<Isa>(source, c).store(out + c);
  }
  if constexpr (!grouped_storage<Stored>) {
    for (; c < channels; ++c) out[c] = static_cast<float>(source[c]);
  }
}

template <class Isa, storage Stored>
class strided_rows {
 public:
  using stored = Stored;
  static constexpr bool is_scaled = false;

  strided_rows(const view<const Stored, 4>& array, index_t batch, index_t head)
      : data_(array.data + batch * array.strides[0] + head * array.strides[1]),
        channels_(array.shape[3]),
        row_stride_(array.strides[2]),
        channel_stride_(array.strides[3]) {}

  bool are_contiguous() const { return channel_stride_ == 1; }
  void find(index_t first, index_t count, const Stored** out) const {
    for (index_t i = 0; i < count; ++i) out[i] = data_ + (first + i) * row_stride_;
  }

  RELPOS_INLINE const float* in_place(index_t row) const {
    if constexpr (std::same_as<Stored, float>) {
      if (channel_stride_ == 1) return data_ + row * row_stride_;
    }
    return nullptr;
  }

  void load(index_t row, float* out) const {
    const Stored* source = data_ + row * row_stride_;
    if (channel_stride_ == 1) {
      load_row<Isa>(source, channels_, out);
    } else {
      for (index_t c = 0; c < channels_; ++c) {
        out[c] = static_cast<float>(source[c * channel_stride_]);
      }
    }
  }

 private:
  const Stored* data_;
  index_t channels_;
  index_t row_stride_;
  index_t channel_stride_;
};

static_assert(stored_rows<strided_rows<generic<4>, float>>);

}  // namespace relpos::inline RELPOS_ABI
