#pragma once

#include <cstddef>
#include <vector>

namespace relpos::bench {

/// Numbers that begin at a cache line, as tensor allocators place them. std::vector's allocator
/// does not.
template <class T>
class aligned_array {
 public:
  void resize(std::size_t size) {
    size_ = size;
    lines_.resize((size * sizeof(T) + sizeof(line) - 1) / sizeof(line));
  }
  std::size_t size() const { return size_; }
  T* data() { return reinterpret_cast<T*>(lines_.data()); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }

 private:
  struct alignas(64) line {
    std::byte bytes[64];
  };
  std::vector<line> lines_;
  std::size_t size_ = 0;
};

}  // namespace relpos::bench
