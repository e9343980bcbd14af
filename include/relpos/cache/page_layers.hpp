#pragma once
// The caches of all layers of a model, as a page_pool takes them: one block table serves them, each has pages of its own.
//
//   std::vector<relpos::paged_cache<relpos::bfloat16>> layers;         // or of one cache, an array, a span
//   std::vector<relpos::page_layer> mixed{first, second, third};       // whose storage types differ
//
// A pool does the same to the pages of every layer, whatever they store.

#include <array>
#include <concepts>
#include <ranges>
#include <span>
#include <type_traits>

#include "relpos/cache/paged.hpp"

namespace relpos::inline RELPOS_ABI {

/// A paged cache whose storage type is forgotten. It refers to the same memory, and so may outlive the cache itself.
class page_layer {
 public:
  template <cache_storage Stored>
  page_layer(const paged_cache<Stored>& cache)
      : keys_(cache.memory.keys.data),
        values_(cache.memory.values.data),
        key_shape_(cache.memory.keys.shape),
        key_strides_(cache.memory.keys.strides),
        value_shape_(cache.memory.values.shape),
        value_strides_(cache.memory.values.strides),
        key_scales_(cache.memory.key_scales),
        value_scales_(cache.memory.value_scales),
        lengths_(cache.lengths),
        block_table_(cache.placement.block_table),
        check_(check_as<Stored>),
        copy_(copy_as<Stored>) {}

  const void* keys() const { return keys_; }
  const void* values() const { return values_; }
  /// [page, key head, row, d].
  const std::array<index_t, 4>& shape() const { return key_shape_; }
  std::span<index_t> lengths() const { return lengths_; }
  index_t& length(index_t sequence) const { return lengths_[static_cast<std::size_t>(sequence)]; }
  const view<std::int32_t, 2>& block_table() const { return block_table_; }

  /// As kv_cache::check_memory, and of one sequence.
  status check(index_t sequence) const { return check_(*this, sequence); }
  /// Copies the rows of a page, and their scales.
  void copy_page(index_t from, index_t to) const { copy_(*this, from, to); }

 private:
  template <class Stored>
  paged_cache<Stored> as() const {
    return {{view<Stored, 4>(static_cast<Stored*>(keys_), key_shape_, key_strides_),
             view<Stored, 4>(static_cast<Stored*>(values_), value_shape_, value_strides_),
             key_scales_, value_scales_},
            lengths_,
            {block_table_}};
  }
  template <class Stored>
  static status check_as(const page_layer& layer, index_t sequence) {
    const paged_cache<Stored> cache = layer.as<Stored>();
    if (status valid = cache.check_memory(); !valid) return valid;
    return cache.check_sequence(sequence);
  }
  template <class Stored>
  static void copy_as(const page_layer& layer, index_t from, index_t to) {
    const cache_memory<Stored> memory = layer.as<Stored>().memory;
    const auto copy = [&](const auto& rows) {
      for (index_t head = 0; head < rows.shape[1]; ++head) {
        for (index_t row = 0; row < rows.shape[2]; ++row) {
          const auto* const source = rows.address(from, head, row, 0);
          std::copy(source, source + rows.shape[3], rows.address(to, head, row, 0));
        }
      }
    };
    const auto copy_scales = [&](const view<float, 3>& scales) {
      if (scales.data == nullptr) return;
      for (index_t head = 0; head < scales.shape[1]; ++head) {
        for (index_t row = 0; row < scales.shape[2]; ++row) {
          scales(to, head, row) = scales(from, head, row);
        }
      }
    };
    copy(memory.keys);
    if (!memory.is_latent()) copy(memory.values);
    copy_scales(memory.key_scales);
    copy_scales(memory.value_scales);
  }

  void* keys_;
  void* values_;
  std::array<index_t, 4> key_shape_;
  std::array<index_t, 4> key_strides_;
  std::array<index_t, 4> value_shape_;
  std::array<index_t, 4> value_strides_;
  view<float, 3> key_scales_;
  view<float, 3> value_scales_;
  std::span<index_t> lengths_;
  view<std::int32_t, 2> block_table_;
  status (*check_)(const page_layer&, index_t);
  void (*copy_)(const page_layer&, index_t, index_t);
};

/// All layers of one call: a cache, or a contiguous range of caches or of page_layer. Refers to them.
class page_layers {
 public:
  template <cache_storage Stored>
  page_layers(const paged_cache<Stored>& only)
      : data_(&only), count_(1), at_(layer_at<paged_cache<Stored>>) {}

  template <std::ranges::contiguous_range Layers>
    requires std::convertible_to<const std::ranges::range_value_t<Layers>&, page_layer>
  page_layers(const Layers& layers)
      : data_(std::ranges::data(layers)),
        count_(static_cast<index_t>(std::ranges::size(layers))),
        at_(layer_at<std::ranges::range_value_t<Layers>>) {}

  index_t count() const { return count_; }
  page_layer operator[](index_t layer) const { return at_(data_, layer); }

 private:
  template <class Layer>
  static page_layer layer_at(const void* data, index_t layer) {
    return static_cast<const Layer*>(data)[layer];
  }

  const void* data_;
  index_t count_;
  page_layer (*at_)(const void*, index_t);
};

}  // namespace relpos::inline RELPOS_ABI
