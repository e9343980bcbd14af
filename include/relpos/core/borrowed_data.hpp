#pragma once
// References to the caller's data: slopes, tables and positions stay where the caller keeps them,
// and a policy holds a pointer and a size. A temporary that owns its data would be destroyed before
// the policy is used, and is refused at compile time.

#include <ranges>
#include <type_traits>

#include "relpos/core/byte_range.hpp"
#include "relpos/core/index.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup tensors
/// @{

/// A reference to contiguous numbers that the caller keeps alive: slopes, tables, positions.
///
/// Any lvalue with `data()` and `size()` (std::vector, std::array, an Eigen vector or tensor), or a
/// temporary that owns nothing (std::span).
template <class T>
struct borrowed_values {
  const T* data = nullptr;  ///< the caller's
  index_t size = 0;         ///< the number of elements
  /// The shape, where the container is a rank-2 tensor; otherwise 0 x 0 and only `size` is known.
  index_t rows = 0;
  index_t columns = 0;  ///< the same

  /// No numbers.
  constexpr borrowed_values() = default;

  /// Refers to any container with `data()` and `size()`. A temporary that owns its data does not
  /// compile.
  template <class Container>
    requires(!std::is_same_v<std::remove_cvref_t<Container>, borrowed_values> &&
             requires(Container& container) {
               container.data();
               container.size();
             })
  constexpr borrowed_values(Container&& container)
      : data(container.data()), size(static_cast<index_t>(container.size())) {
    using owner = std::remove_cvref_t<Container>;
    static_assert(
        std::is_lvalue_reference_v<Container> || std::ranges::enable_borrowed_range<owner>,
        "relpos: a policy refers to its data and does not copy it: give the vector a name "
        "and keep it alive, instead of passing a temporary");
    static_assert(std::is_convertible_v<decltype(container.data()), const T*>,
                  "relpos: policy data is an array of float (slopes, tables) or of relpos::index_t "
                  "(positions)");
    static_assert(
        is_viewable<const owner> || !requires { container.innerStride(); },
        "relpos: an Eigen vector or matrix may have strides: include relpos/relpos.hpp, which "
        "reads them");
    if constexpr (viewable_as<const owner, const T, 2>) {
      const view<const T, 2> matrix(static_cast<const owner&>(container));
      rows = matrix.shape[0];
      columns = matrix.shape[1];
    }
  }

  /// Whether the numbers lie in this memory.
  bool overlaps(const byte_range& memory) const {
    return byte_range::of(data, static_cast<std::size_t>(size) * sizeof(T)).overlaps(memory);
  }

 private:
  template <class Owner>
  static constexpr bool is_viewable = requires { view_traits<Owner>::rank; };
};

/// Slopes and tables.
using borrowed_data = borrowed_values<float>;
/// @deprecated Renamed to borrowed_data.
using named_data [[deprecated("relpos: renamed to borrowed_data")]] = borrowed_data;
/// @deprecated Renamed to borrowed_values.
template <class T>
using named_values [[deprecated("relpos: renamed to borrowed_values")]] = borrowed_values<T>;

/// @}

}  // namespace relpos::inline RELPOS_ABI
