#pragma once
// The free pages of paged caches, and the number of sequences that use each used page.
//
// `layers` are the caches of all layers of a model (page_layers.hpp), the same ones in every call.
// They share one block table, and every change of a page is made in the memory of each layer. A
// model of one layer passes its cache.
//
// The pool is host bookkeeping for callers without bookkeeping of their own. It is not thread-safe.

#include <cstdint>
#include <vector>

#include "relpos/kv_cache/check_page_layers.hpp"
#include "relpos/kv_cache/page_layers.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup paged_cache
/// @{

/// The free pages of paged caches, and the number of sequences that use each used page.
///
/// @copydetails page_pool.hpp
/// @snippet reference.cpp page_pool
class page_pool {
 public:
  /// Pages [0, pages), all free.
  explicit page_pool(index_t pages) : uses_(static_cast<std::size_t>(pages)) {
    for (index_t page = pages; page-- > 0;) free_.push_back(static_cast<std::int32_t>(page));
  }

  /// The number of free pages.
  index_t free_pages() const { return static_cast<index_t>(free_.size()); }
  /// The number of sequences that use a page.
  index_t uses(std::int32_t page) const { return uses_[static_cast<std::size_t>(page)]; }

  /// Reserves the pages that a sequence needs for `rows` rows in all, old and new.
  ///
  /// If another sequence shares a page that will be written, this sequence gets a page of its own
  /// instead. The new rows may then be appended to every layer. Refuses, and changes nothing, if
  /// too few pages are free.
  status reserve(const page_layers& layers, index_t sequence, index_t rows) {
    if (status valid = check(layers, sequence); !valid) return valid;
    if (rows < 0 || rows > max_length) {
      return status::error(status_code::invalid_value, "rows: is %lld, must be 0 to 2^31 - 1",
                           static_cast<long long>(rows));
    }
    const page_layer layer = layers[0];
    const index_t page_rows = layer.shape()[2];
    const index_t length = layer.length(sequence);
    const index_t needed_pages = ceil_div(rows, page_rows);
    const view<std::int32_t, 2>& table = layer.block_table();
    if (needed_pages > table.shape[1]) {
      return status::error(status_code::invalid_shape,
                           "cache.block_table: %lld rows need %lld pages, shape is %s",
                           static_cast<long long>(rows), static_cast<long long>(needed_pages),
                           shape_text(table.shape).text);
    }
    std::vector<std::int32_t>& pages = pages_of(sequence);
    const index_t held_pages = count(pages);
    // The pages that will be written although another sequence uses them: the page of row `length`,
    // which may hold earlier rows to keep, and later pages.
    const index_t first = length / page_rows;
    std::vector<index_t> shared;
    for (index_t block = first; rows > length && block < std::min(held_pages, needed_pages);
         ++block) {
      if (uses(pages[at(block)]) > 1) shared.push_back(block);
    }
    const index_t new_pages =
        std::max<index_t>(needed_pages - held_pages, 0) + static_cast<index_t>(shared.size());
    if (new_pages > free_pages()) {
      return status::error(status_code::invalid_value,
                           "page_pool: %lld pages are needed, %lld are free",
                           static_cast<long long>(new_pages), static_cast<long long>(free_pages()));
    }
    serve(layers);
    for (const index_t block : shared) {
      const std::int32_t page = take();
      if (block * page_rows < length) {
        for (index_t i = 0; i < layers.count(); ++i) layers[i].copy_page(pages[at(block)], page);
      }
      release(pages[at(block)]);
      pages[at(block)] = page;
    }
    while (count(pages) < needed_pages) pages.push_back(take());
    for (index_t block = first; block < needed_pages; ++block)
      table(sequence, block) = pages[at(block)];
    return {};
  }

  /// Makes sequence `to`, which has no rows, equal to sequence `from` in every layer. They share
  /// pages.
  status fork(const page_layers& layers, index_t from, index_t to) {
    if (status valid = check(layers, from); !valid) return valid;
    if (status valid = check(layers, to); !valid) return valid;
    const page_layer layer = layers[0];
    if (from == to || layer.length(to) != 0 || !pages_of(to).empty()) {
      return status::error(status_code::invalid_value,
                           "to: sequence %lld has rows or pages, truncate it to 0 with the pool "
                           "before",
                           static_cast<long long>(to));
    }
    const index_t blocks = ceil_div(layer.length(from), layer.shape()[2]);
    for (index_t block = 0; block < blocks; ++block) {
      const std::int32_t page = pages_of(from)[at(block)];
      pages_of(to).push_back(page);
      layer.block_table()(to, block) = page;
      ++uses_[static_cast<std::size_t>(page)];
    }
    for (index_t i = 0; i < layers.count(); ++i) layers[i].length(to) = layers[i].length(from);
    return {};
  }

  /// Removes the rows of a sequence behind the first `length` in every layer, and returns to the
  /// pool the pages that the sequence no longer needs.
  status truncate(const page_layers& layers, index_t sequence, index_t length) {
    if (status valid = check(layers, sequence); !valid) return valid;
    if (length < 0 || length > layers[0].length(sequence)) {
      return status::error(status_code::invalid_value,
                           "length: is %lld, sequence %lld has %lld rows to keep",
                           static_cast<long long>(length), static_cast<long long>(sequence),
                           static_cast<long long>(layers[0].length(sequence)));
    }
    std::vector<std::int32_t>& pages = pages_of(sequence);
    const index_t needed_pages = ceil_div(length, layers[0].shape()[2]);
    for (index_t i = 0; i < layers.count(); ++i) layers[i].length(sequence) = length;
    for (; count(pages) > needed_pages; pages.pop_back()) release(pages.back());
    return {};
  }

 private:
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
  static index_t count(const std::vector<std::int32_t>& pages) {
    return static_cast<index_t>(pages.size());
  }

  /// Refuses layers whose parts do not fit together or that do not belong to one model, and a
  /// sequence with rows in pages that the pool did not give it.
  status check(const page_layers& layers, index_t sequence) {
    if (layers.count() == 0) {
      return status::error(status_code::invalid_value, "layers: is empty");
    }
    for (index_t i = 0; i < layers.count(); ++i) {
      status valid = check_page_layer(layers, i, static_cast<index_t>(uses_.size()), sequence);
      if (!valid) return valid;
    }
    if (!are_served(layers)) {
      if (status valid = check_page_layers_apart(layers); !valid) return valid;
      if (status valid = check_served(layers); !valid) return valid;
    }
    const page_layer layer = layers[0];
    const index_t blocks = ceil_div(layer.length(sequence), layer.shape()[2]);
    const std::vector<std::int32_t>& pages = pages_of(sequence);
    for (index_t block = 0; block < blocks; ++block) {
      const std::int32_t page = layer.block_table()(sequence, block);
      if (block < count(pages) && pages[at(block)] == page) continue;
      return status::error(status_code::invalid_value,
                           "cache.block_table: is %lld at [%lld, %lld], a page that this pool did "
                           "not give the sequence",
                           static_cast<long long>(page), static_cast<long long>(sequence),
                           static_cast<long long>(block));
    }
    return {};
  }

  /// Whether these are the layers of the last `reserve`, which were found to share no memory.
  bool are_served(const page_layers& layers) const {
    if (static_cast<index_t>(served_.size()) != layers.count()) return false;
    for (index_t i = 0; i < layers.count(); ++i) {
      const page_layer layer = layers[i];
      if (!layer.has_pages_of(served_[at(i)]) || !layer.has_lengths_of(served_[at(i)]))
        return false;
    }
    return true;
  }
  /// Refuses layers other than the ones whose pages are in use: the rows of an omitted layer would
  /// not be copied.
  status check_served(const page_layers& layers) const {
    if (free_.size() == uses_.size()) return {};
    if (static_cast<index_t>(served_.size()) != layers.count()) {
      return status::error(status_code::invalid_value,
                           "layers: are %lld, pages are in use by %zu: every call takes the caches "
                           "of all layers",
                           static_cast<long long>(layers.count()), served_.size());
    }
    for (index_t i = 0; i < layers.count(); ++i) {
      const page_layer layer = layers[i];
      const page_layer& served = served_[at(i)];
      if (layer.has_pages_of(served)) continue;
      return status::error(status_code::invalid_value,
                           "layers: layer %lld is not one whose pages are in use (every call "
                           "takes the caches of all layers), keys are %s, not %s",
                           static_cast<long long>(i), shape_text(layer.shape()).text,
                           shape_text(served.shape()).text);
    }
    return {};
  }
  void serve(const page_layers& layers) {
    if (are_served(layers)) return;
    served_.clear();
    for (index_t i = 0; i < layers.count(); ++i) served_.push_back(layers[i]);
  }

  /// The pages of a sequence, including pages reserved in advance.
  std::vector<std::int32_t>& pages_of(index_t sequence) {
    if (pages_.size() <= at(sequence)) pages_.resize(at(sequence) + 1);
    return pages_[at(sequence)];
  }

  std::int32_t take() {
    const std::int32_t page = free_.back();
    free_.pop_back();
    uses_[static_cast<std::size_t>(page)] = 1;
    return page;
  }
  void release(std::int32_t page) {
    if (--uses_[static_cast<std::size_t>(page)] == 0) free_.push_back(page);
  }

  std::vector<index_t> uses_;
  std::vector<std::vector<std::int32_t>> pages_;  // per sequence
  std::vector<std::int32_t> free_;
  std::vector<page_layer> served_;  // the layers whose pages are in use
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
