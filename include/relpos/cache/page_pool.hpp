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
  explicit page_pool(index pages) : uses_(static_cast<std::size_t>(pages)) {
    for (index page = pages; page-- > 0;) free_.push_back(static_cast<std::int32_t>(page));
  }

  index free_pages() const { return static_cast<index>(free_.size()); }
  /// Sequences that use a page.
  index uses(std::int32_t page) const { return uses_[static_cast<std::size_t>(page)]; }

  /// Gives a sequence the pages for `rows`, and its own in place of those to be written that another sequence shares:
  /// then rows may be appended. Refused, and nothing changed, if too few are free.
  template <class Stored>
  status reserve(const paged_cache<Stored>& cache, index sequence, index rows) {
    if (status valid = check(cache, sequence); !valid) return valid;
    if (rows < 0 || rows > max_length) {
      return status::error(status_code::invalid_value, "rows: is %lld, must be 0 to 2^31 - 1",
                           static_cast<long long>(rows));
    }
    const index page_rows = cache.memory.keys.shape[2];
    const index length = cache.length(sequence);
    const index needed = ceil_div(rows, page_rows);
    const auto& table = cache.placement.block_table;
    if (needed > table.shape[1]) {
      return status::error(status_code::invalid_shape,
                           "cache.block_table: %lld rows need %lld pages, shape is %s",
                           static_cast<long long>(rows), static_cast<long long>(needed),
                           shape_text(table.shape).text);
    }
    std::vector<std::int32_t>& pages = pages_of(sequence);
    const index held = count(pages);
    // Pages that will be written and another sequence uses: the last one, whose rows stay, and any behind it.
    const index first = length / page_rows;
    std::vector<index> shared;
    for (index block = first; rows > length && block < std::min(held, needed); ++block) {
      if (uses(pages[at(block)]) > 1) shared.push_back(block);
    }
    const index wanted = std::max<index>(needed - held, 0) + static_cast<index>(shared.size());
    if (wanted > free_pages()) {
      return status::error(status_code::invalid_value,
                           "page_pool: %lld pages are needed, %lld are free",
                           static_cast<long long>(wanted), static_cast<long long>(free_pages()));
    }
    for (const index block : shared) {
      const std::int32_t own = take();
      if (block * page_rows < length) copy_page(cache.memory, pages[at(block)], own);
      release(pages[at(block)]);
      pages[at(block)] = own;
    }
    while (count(pages) < needed) pages.push_back(take());
    for (index block = first; block < needed; ++block) table(sequence, block) = pages[at(block)];
    return {};
  }

  /// Sequence `to`, which has no rows, begins as `from` is, and shares its pages.
  template <class Stored>
  status fork(const paged_cache<Stored>& cache, index from, index to) {
    if (status valid = check(cache, from); !valid) return valid;
    if (status valid = check(cache, to); !valid) return valid;
    if (from == to || cache.length(to) != 0 || !pages_of(to).empty()) {
      return status::error(status_code::invalid_value,
                           "to: sequence %lld has rows or pages, truncate it to 0 with the pool "
                           "before",
                           static_cast<long long>(to));
    }
    const index blocks = ceil_div(cache.length(from), cache.memory.keys.shape[2]);
    for (index block = 0; block < blocks; ++block) {
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
  status truncate(const paged_cache<Stored>& cache, index sequence, index length) {
    if (status valid = check(cache, sequence); !valid) return valid;
    if (status valid = relpos::truncate(cache, sequence, length); !valid) return valid;
    std::vector<std::int32_t>& pages = pages_of(sequence);
    const index needed = ceil_div(length, cache.memory.keys.shape[2]);
    for (; count(pages) > needed; pages.pop_back()) release(pages.back());
    return {};
  }

 private:
  static std::size_t at(index i) { return static_cast<std::size_t>(i); }
  static index count(const std::vector<std::int32_t>& pages) {
    return static_cast<index>(pages.size());
  }

  /// Refuses a cache whose rows of the sequence lie in other pages than the pool gave it.
  template <class Stored>
  status check(const paged_cache<Stored>& cache, index sequence) {
    if (status valid = cache.check_memory(); !valid) return valid;
    if (cache.memory.keys.shape[0] != static_cast<index>(uses_.size())) {
      return status::error(status_code::invalid_shape,
                           "page_pool: has %zu pages, cache.keys are %s", uses_.size(),
                           shape_text(cache.memory.keys.shape).text);
    }
    if (status valid = cache.check_sequence(sequence); !valid) return valid;
    const index blocks = ceil_div(cache.length(sequence), cache.memory.keys.shape[2]);
    const std::vector<std::int32_t>& pages = pages_of(sequence);
    for (index block = 0; block < blocks; ++block) {
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
  std::vector<std::int32_t>& pages_of(index sequence) {
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
  static void copy_page(const cache_memory<Stored>& memory, index from, index to) {
    const auto copy = [&](const auto& rows) {
      for (index head = 0; head < rows.shape[1]; ++head) {
        for (index row = 0; row < rows.shape[2]; ++row) {
          const auto* const source = rows.address(from, head, row, 0);
          std::copy(source, source + rows.shape[3], rows.address(to, head, row, 0));
        }
      }
    };
    copy(memory.keys);
    copy(memory.values);
    const auto copy_scales = [&](const view<float, 3>& scales) {
      if (scales.data == nullptr) return;
      for (index head = 0; head < scales.shape[1]; ++head) {
        for (index row = 0; row < scales.shape[2]; ++row) {
          scales(to, head, row) = scales(from, head, row);
        }
      }
    };
    copy_scales(memory.key_scales);
    copy_scales(memory.value_scales);
  }

  std::vector<index> uses_;
  std::vector<std::vector<std::int32_t>> pages_;  // of each sequence
  std::vector<std::int32_t> free_;
};

}  // namespace relpos::inline RELPOS_ABI
