#pragma once
// The caches of all layers of a model, as page_pool takes them. The layers share one block table;
// each layer has its own pages.
//
//   std::vector<relpos::paged_cache<relpos::bfloat16>> layers;    // or one cache, an array, a span
//   std::vector<relpos::page_layer> mixed{first, second, third};  // of different storage types
//
// A pool does the same to the pages of every layer, whatever their storage type.

#include <algorithm>
#include <array>
#include <concepts>
#include <ranges>
#include <span>

#include "relpos/kv_cache/paged.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup paged_cache
/// @{

/// A paged cache whose storage type is erased, for layers of different types.
///
/// It refers to the same memory as the cache, so it may outlive the cache object.
class page_layer {
 public:
  /// Erases the storage type of a cache.
  template <cache_storage Stored>
  page_layer(const paged_cache<Stored>& cache)
      : keys_(cache.memory.keys),
        values_(cache.memory.values),
        key_scales_(cache.memory.key_scales),
        value_scales_(cache.memory.value_scales),
        key_channel_scales_(cache.memory.key_channel_scales),
        value_channel_scales_(cache.memory.value_channel_scales),
        lengths_(cache.lengths),
        block_table_(cache.placement.block_table),
        as_stored_(&typed<Stored>) {}

  /// The shape of the keys, [page, key head, row, d].
  const std::array<index_t, 4>& shape() const { return keys_.shape; }
  /// The rows of each sequence.
  std::span<index_t> lengths() const { return lengths_; }
  /// The rows of a sequence.
  index_t& length(index_t sequence) const { return lengths_[static_cast<std::size_t>(sequence)]; }
  /// [sequence, block], as in paged_placement.
  const view<std::int32_t, 2>& block_table() const { return block_table_; }

  /// @privatesection page_pool calls these members.
  bool has_table_of(const page_layer& other) const {
    return is_same(block_table_, other.block_table_);
  }
  bool has_pages_of(const page_layer& other) const {
    return is_same(keys_, other.keys_) && is_same(values_, other.values_) &&
           is_same(key_scales_, other.key_scales_) && is_same(value_scales_, other.value_scales_);
  }
  bool has_lengths_of(const page_layer& other) const {
    return lengths_.data() == other.lengths_.data() && lengths_.size() == other.lengths_.size();
  }

  /// Calls the functions of the same names of kv_cache.
  status check_memory() const { return as_stored_->check_memory(*this); }
  status check_sequence(index_t sequence) const {
    return as_stored_->check_sequence(*this, sequence);
  }
  /// The memory of keys, values, key scales and value scales.
  std::array<labelled_memory, 4> parts() const { return as_stored_->parts(*this); }
  /// Copies the rows of page `source`, and their scales, to page `destination`.
  void copy_page(index_t source, index_t destination) const {
    as_stored_->copy_page(*this, source, destination);
  }

 private:
  /// A view of elements whose type is erased.
  struct any_view {
    void* data;
    std::array<index_t, 4> shape;
    std::array<index_t, 4> strides;

    template <class T>
    explicit any_view(const view<T, 4>& elements)
        : data(elements.data), shape(elements.shape), strides(elements.strides) {}
    template <class T>
    view<T, 4> as() const {
      return {static_cast<T*>(data), shape, strides};
    }
  };

  /// The functions that depend on the storage type.
  struct functions {
    status (*check_memory)(const page_layer&);
    status (*check_sequence)(const page_layer&, index_t);
    std::array<labelled_memory, 4> (*parts)(const page_layer&);
    void (*copy_page)(const page_layer&, index_t, index_t);
  };

  template <class Stored>
  static paged_cache<Stored> as(const page_layer& layer) {
    return {{layer.keys_.as<Stored>(), layer.values_.as<Stored>(), layer.key_scales_,
             layer.value_scales_, layer.key_channel_scales_, layer.value_channel_scales_},
            layer.lengths_,
            {layer.block_table_}};
  }
  template <class Stored>
  static status check_memory_as(const page_layer& layer) {
    return as<Stored>(layer).check_memory();
  }
  template <class Stored>
  static status check_sequence_as(const page_layer& layer, index_t sequence) {
    return as<Stored>(layer).check_sequence(sequence);
  }
  template <class Stored>
  static std::array<labelled_memory, 4> parts_as(const page_layer& layer) {
    const cache_memory<Stored> memory = as<Stored>(layer).memory;
    return {labelled_memory("cache.keys", memory.keys),
            labelled_memory("cache.values", memory.values),
            labelled_memory("cache.key_scales", memory.key_scales),
            labelled_memory("cache.value_scales", memory.value_scales)};
  }
  template <class Stored>
  static void copy_page_as(const page_layer& layer, index_t source, index_t destination) {
    const cache_memory<Stored> memory = as<Stored>(layer).memory;
    const auto copy = [&](const auto& rows) {
      for (index_t head = 0; head < rows.shape[1]; ++head) {
        for (index_t row = 0; row < rows.shape[2]; ++row) {
          const auto* const elements = rows.address(source, head, row, 0);
          std::copy(elements, elements + rows.shape[3], rows.address(destination, head, row, 0));
        }
      }
    };
    const auto copy_scales = [&](const view<float, 3>& scales) {
      if (scales.data == nullptr) return;
      for (index_t head = 0; head < scales.shape[1]; ++head) {
        for (index_t row = 0; row < scales.shape[2]; ++row) {
          scales(destination, head, row) = scales(source, head, row);
        }
      }
    };
    copy(memory.keys);
    if (!memory.is_latent()) copy(memory.values);
    copy_scales(memory.key_scales);
    copy_scales(memory.value_scales);
  }
  template <class Stored>
  static constexpr functions typed{check_memory_as<Stored>, check_sequence_as<Stored>,
                                   parts_as<Stored>, copy_page_as<Stored>};

  /// Whether both views have the same elements. Strides of axes with one element are ignored.
  template <class View>
  static bool is_same(const View& a, const View& b) {
    if (a.data != b.data || a.shape != b.shape) return false;
    for (std::size_t axis = 0; axis < a.shape.size(); ++axis) {
      if (a.shape[axis] > 1 && a.strides[axis] != b.strides[axis]) return false;
    }
    return true;
  }

  any_view keys_;
  any_view values_;
  view<float, 3> key_scales_;
  view<float, 3> value_scales_;
  view<const float, 2> key_channel_scales_;
  view<const float, 2> value_channel_scales_;
  std::span<index_t> lengths_;
  view<std::int32_t, 2> block_table_;
  const functions* as_stored_;
};

/// The caches of all layers of a model, as page_pool takes them.
///
/// One cache, or a contiguous range of caches or of page_layer. Refers to them without a copy.
class page_layers {
 public:
  /// A model of one layer.
  template <cache_storage Stored>
  page_layers(const paged_cache<Stored>& cache)
      : data_(&cache), count_(1), accessor_(layer_at<paged_cache<Stored>>) {}

  /// A vector, array or span of caches, or of page_layer.
  template <std::ranges::contiguous_range Layers>
    requires std::ranges::sized_range<const Layers> &&
                 std::convertible_to<const std::ranges::range_value_t<Layers>&, page_layer>
  page_layers(const Layers& layers)
      : data_(std::ranges::data(layers)),
        count_(static_cast<index_t>(std::ranges::size(layers))),
        accessor_(layer_at<std::ranges::range_value_t<Layers>>) {}

  /// The number of layers.
  index_t count() const { return count_; }
  /// A layer.
  page_layer operator[](index_t layer) const { return accessor_(data_, layer); }

 private:
  template <class Layer>
  static page_layer layer_at(const void* data, index_t layer) {
    return static_cast<const Layer*>(data)[layer];
  }

  const void* data_;
  index_t count_;
  page_layer (*accessor_)(const void*, index_t);
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
