#pragma once
// Which pages of a paged cache are free, and how many sequences use each of the others.
//
//   relpos::page_pool pool(pages);
//   relpos::status done = pool.reserve(cache, sequence, cache.length(sequence) + new_rows);    // then append
//
// Host bookkeeping, for those who have none of their own: one pool per cache, not for several threads at once.

#include <cstdint>
#include <vector>

#include "relpos/cache/paged.hpp"

namespace relpos::inline RELPOS_ABI {

class page_pool {
 public:
  /// Pages [0, pages), all free.
  explicit page_pool(index_t pages) : uses_(static_cast<std::size_t>(pages)) {
    for (index_t page = pages; page-- > 0;) free_.push_back(static_cast<std::int32_t>(page));
  }

  index_t free_pages() const { return static_cast<index_t>(free_.size()); }
  /// Sequences that use a page.
  index_t uses(std::int32_t page) const { return uses_[static_cast<std::size_t>(page)]; }

  /// Gives a sequence the pages for `rows`, and its own in place of those to be written that another sequence shares:
  /// then rows may be appended. Refused, and nothing changed, if too few are free.
  template <class Stored>
  status reserve(const paged_cache<Stored>& cache, index_t sequence, index_t rows) {
    if (status valid = check(cache, sequence); !valid) return valid;
    if (rows < 0 || rows > max_length) {
      return status::error(status_code::invalid_value, "rows: is %lld, must be 0 to 2^31 - 1",
                           static_cast<long long>(rows));
    }
    const index_t page_rows = cache.memory.keys.shape[2];
    const index_t length = cache.length(sequence);
    const index_t needed = ceil_div(rows, page_rows);
    const auto& table = cache.placement.block_table;
    if (needed > table.shape[1]) {
      return status::error(status_code::invalid_shape,
                           "cache.block_table: %lld rows need %lld pages, shape is %s",
                           static_cast<long long>(rows), static_cast<long long>(needed),
                           shape_text(table.shape).text);
    }
    std::vector<std::int32_t>& pages = pages_of(sequence);
    const index_t held = count(pages);
    // Pages that will be written and another sequence uses: the last one, whose rows stay, and any behind it.
    const index_t first = length / page_rows;
    std::vector<index_t> shared;
    for (index_t block = first; rows > length && block < std::min(held, needed); ++block) {
      if (uses(pages[at(block)]) > 1) shared.push_back(block);
    }
    const index_t wanted =
        std::max<index_t>(needed - held, 0) + static_cast<index_t>(shared.size());
    if (wanted > free_pages()) {
      return status::error(status_code::invalid_value,
                           "page_pool: %lld pages are needed, %lld are free",
                           static_cast<long long>(wanted), static_cast<long long>(free_pages()));
    }
    for (const index_t block : shared) {
      const std::int32_t own = take();
      if (block * page_rows < length) copy_page(cache.memory, pages[at(block)], own);
      release(pages[at(block)]);
      pages[at(block)] = own;
    }
    while (count(pages) < needed) pages.push_back(take());
    for (index_t block = first; block < needed; ++block) table(sequence, block) = pages[at(block)];
    return {};
  }

  /// Sequence `to`, which has no rows, begins as `from` is, and shares its pages.
  template <class Stored>
  status fork(const paged_cache<Stored>& cache, index_t from, index_t to) {
    if (status valid = check(cache, from); !valid) return valid;
    if (status valid = check(cache, to); !valid) return valid;
    if (from == to || cache.length(to) != 0 || !pages_of(to).empty()) {
      return status::error(status_code::invalid_value,
                           "to: sequence %lld has rows or pages, truncate it to 0 with the pool "
                           "before",
                           static_cast<long long>(to));
    }
    const index_t blocks = ceil_div(cache.length(from), cache.memory.keys.shape[2]);
    for (index_t block = 0; block < blocks; ++block) {
      const std::int32_t page = pages_of(from)[at(block)];
      pages_of(to).push_back(page);
      cache.placement.block_table(to, block) = page;
      ++uses_[static_cast<std::size_t>(page)];
    }
    cache.lengths[at(to)] = cache.length(from);
    return {};
  }

  /// Forgets the rows of a sequence behind the first `length`, and returns the pages that it no longer needs.
  template <class Stored>
  status truncate(const paged_cache<Stored>& cache, index_t sequence, index_t length) {
    if (status valid = check(cache, sequence); !valid) return valid;
    if (status valid = relpos::truncate(cache, sequence, length); !valid) return valid;
    std::vector<std::int32_t>& pages = pages_of(sequence);
    const index_t needed = ceil_div(length, cache.memory.keys.shape[2]);
    for (; count(pages) > needed; pages.pop_back()) release(pages.back());
    return {};
  }

 private:
  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
  static index_t count(const std::vector<std::int32_t>& pages) {
    return static_cast<index_t>(pages.size());
  }

  /// Refuses a cache whose rows of the sequence lie in other pages than the pool gave it.
  template <class Stored>
  status check(const paged_cache<Stored>& cache, index_t sequence) {
    if (status valid = cache.check_memory(); !valid) return valid;
    if (cache.memory.keys.shape[0] != static_cast<index_t>(uses_.size())) {
      return status::error(status_code::invalid_shape,
                           "page_pool: has %zu pages, cache.keys are %s", uses_.size(),
                           shape_text(cache.memory.keys.shape).text);
    }
    if (status valid = cache.check_sequence(sequence); !valid) return valid;
    const index_t blocks = ceil_div(cache.length(sequence), cache.memory.keys.shape[2]);
    const std::vector<std::int32_t>& pages = pages_of(sequence);
    for (index_t block = 0; block < blocks; ++block) {
      const std::int32_t page = cache.placement.block_table(sequence, block);
      if (block < count(pages) && pages[at(block)] == page) continue;
      return status::error(status_code::invalid_value,
                           "cache.block_table: is %lld at [%lld, %lld], a page that this pool did "
                           "not give the sequence",
                           static_cast<long long>(page), static_cast<long long>(sequence),
                           static_cast<long long>(block));
    }
    return {};
  }

  /// Pages that a sequence has, those reserved in advance among them.
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

  template <class Stored>
  static void copy_page(const cache_memory<Stored>& memory, index_t from, index_t to) {
    const auto copy = [&](const auto& rows) {
      for (index_t head = 0; head < rows.shape[1]; ++head) {
        for (index_t row = 0; row < rows.shape[2]; ++row) {
          const auto* const source = rows.address(from, head, row, 0);
          std::copy(source, source + rows.shape[3], rows.address(to, head, row, 0));
        }
      }
    };
    copy(memory.keys);
    copy(memory.values);
    const auto copy_scales = [&](const view<float, 3>& scales) {
      if (scales.data == nullptr) return;
      for (index_t head = 0; head < scales.shape[1]; ++head) {
        for (index_t row = 0; row < scales.shape[2]; ++row) {
          scales(to, head, row) = scales(from, head, row);
        }
      }
    };
    copy_scales(memory.key_scales);
    copy_scales(memory.value_scales);
  }

  std::vector<index_t> uses_;
  std::vector<std::vector<std::int32_t>> pages_;  // of each sequence
  std::vector<std::int32_t> free_;
};

}  // namespace relpos::inline RELPOS_ABI
