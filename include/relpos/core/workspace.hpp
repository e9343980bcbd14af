#pragma once
// Working memory of a call: the caller owns it, the call divides it. The code that divides it also
// runs once without memory to count the bytes, so size and division cannot disagree.

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup prepare
/// @{

/// Memory that the caller provides for the duration of one call, with any alignment.
struct workspace {
  void* data = nullptr;   ///< of any alignment
  std::size_t bytes = 0;  ///< at least `workspace_bytes` of the call

  /// No memory.
  constexpr workspace() = default;
  /// `size` bytes of memory.
  constexpr workspace(void* memory, std::size_t size) : data(memory), bytes(size) {}

  /// All bytes of a container (std::vector<std::byte>, std::array<std::byte, N>) that outlives the
  /// call; temporaries do not compile.
  template <class Container>
    requires requires(Container& container) {
      { container.data() } -> std::same_as<std::byte*>;
      container.size();
    }
  constexpr workspace(Container& container) : data(container.data()), bytes(container.size()) {}
};

/// @deprecated Renamed to workspace.
using scratch [[deprecated("relpos: renamed to workspace")]] = workspace;

/// @}

/// Hands out consecutive pieces of a block, each on a cache line of its own.
class arena {
 public:
  static constexpr std::size_t alignment = 64;

  /// Counts bytes and hands out null pointers.
  constexpr arena() = default;

  /// Divides `memory`, which holds at least `bytes_taken()` of a counting run.
  explicit arena(workspace memory) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory.data);
    const std::uintptr_t aligned = (address + alignment - 1) / alignment * alignment;
    begin_ = static_cast<std::byte*>(memory.data) + (aligned - address);
  }

  template <class T>
  T* take(index_t count) {
    const std::size_t offset = taken_;
    const std::size_t size = static_cast<std::size_t>(count) * sizeof(T);
    taken_ += (size + alignment - 1) / alignment * alignment;
    return begin_ == nullptr ? nullptr : reinterpret_cast<T*>(begin_ + offset);
  }

  /// Bytes that a block of any alignment needs for what was taken so far.
  constexpr std::size_t bytes_taken() const { return taken_ == 0 ? 0 : taken_ + alignment - 1; }

 private:
  std::byte* begin_ = nullptr;
  std::size_t taken_ = 0;
};

}  // namespace relpos::inline RELPOS_ABI
