#pragma once
// Memory between two pages that nobody may touch: a vector that reaches beyond a tensor ends the
// program.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <stdexcept>

#include "relpos/core/view.hpp"

namespace support {

enum class guarded_side {
  end,   // the last byte lies before a page that cannot be accessed
  begin  // the first byte lies behind one
};

/// `bytes` bytes of 0xff, NaN in every format, at one end of a block of pages. Sizes that are no
/// multiple of a page leave a gap at the other end.
class guarded_memory {
 public:
  guarded_memory(std::size_t bytes, guarded_side side) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inside = (bytes + page - 1) / page * page;
    bytes_ = inside + 2 * page;
    pages_ = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages_ == MAP_FAILED) throw std::runtime_error("no memory for guarded pages");
    auto* const first = static_cast<std::byte*>(pages_) + page;
    if (inside > 0 && mprotect(first, inside, PROT_READ | PROT_WRITE) != 0) {
      throw std::runtime_error("pages cannot be made accessible");
    }
    data_ = side == guarded_side::end ? first + inside - bytes : first;
    std::memset(data_, 0xff, bytes);
  }
  guarded_memory(const guarded_memory&) = delete;
  guarded_memory& operator=(const guarded_memory&) = delete;
  ~guarded_memory() { munmap(pages_, bytes_); }

  void* data() const { return data_; }

 private:
  void* pages_ = nullptr;
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

/// A contiguous tensor in guarded memory.
template <class T, std::size_t Rank>
class guarded_tensor {
 public:
  using shape_array = std::array<relpos::index_t, Rank>;

  guarded_tensor(const shape_array& shape, guarded_side side)
      : shape_(shape), memory_(size(shape) * sizeof(T), side) {}
  guarded_tensor(const shape_array& shape, const T* values, guarded_side side)
      : guarded_tensor(shape, side) {
    if (size(shape) > 0) std::memcpy(memory_.data(), values, size(shape) * sizeof(T));
  }

  T* data() const { return static_cast<T*>(memory_.data()); }
  relpos::view<T, static_cast<int>(Rank)> view() const { return {data(), shape_}; }
  std::size_t size() const { return size(shape_); }

 private:
  static std::size_t size(const shape_array& shape) {
    std::size_t result = 1;
    for (const relpos::index_t extent : shape) result *= static_cast<std::size_t>(extent);
    return result;
  }

  shape_array shape_;
  guarded_memory memory_;
};

}  // namespace support
