#pragma once
// A view is a pointer, a shape and strides: plain data, owning nothing. Any memory layout is a
// choice of strides: [batch, position, head, channel], packed QKV, a slice of a cache.

#include <array>
#include <type_traits>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup tensors
/// @{

/// The conversion of a foreign tensor type to a view, to be specialised.
///
/// The members of a specialisation are
///
///   value_type, rank, static view<value_type, rank> of(Tensor&)
///   owns_nothing     true: a temporary may be viewed
///
/// `eigen/view.hpp` specialises it for Eigen's tensors, `eigen/dense.hpp` for its vectors and
/// matrices.
template <class Tensor>
struct view_traits;

template <class T, int Rank>
struct view;

/// A tensor of which a view of rank `Rank` of `T` can be made.
template <class Tensor, class T, int Rank>
concept viewable_as = requires(Tensor& tensor) {
  requires view_traits<Tensor>::rank == Rank;
  requires std::is_convertible_v<typename view_traits<Tensor>::value_type*, T*>;
  view_traits<Tensor>::of(tensor);
};

/// A pointer, a shape and strides: a tensor of rank `Rank` that somebody else owns.
///
/// Strides count elements, not bytes. The strides of inputs may be zero (broadcast) or negative.
/// Attention reads and writes [batch, head, position, channel].
///
/// @snippet view_form.cpp views
template <class T, int Rank>
struct view {
  using value_type = T;                                                     ///< const for inputs
  using index_array = std::array<index_t, static_cast<std::size_t>(Rank)>;  ///< one per axis

  T* data = nullptr;      ///< the first element
  index_array shape{};    ///< the extents of the axes
  index_array strides{};  ///< in elements

  /// No elements.
  constexpr view() = default;

  /// A contiguous row-major array. Strides are computed modulo 2^64: functions refuse extents whose
  /// product overflows, but may be given them.
  constexpr view(T* first, index_array extents) : data(first), shape(extents) {
    index_t stride = 1;
    for (std::size_t axis = Rank; axis-- > 0;) {
      strides[axis] = stride;
      stride = product(stride, shape[axis]);
    }
  }

  /// An array with any strides.
  constexpr view(T* first, index_array extents, index_array steps)
      : data(first), shape(extents), strides(steps) {}

  /// A read-only view of a writable one.
  template <class U>
    requires(std::is_same_v<T, const U>)
  constexpr view(const view<U, Rank>& other)
      : data(other.data), shape(other.shape), strides(other.strides) {}

  /// A view of a tensor whose type specialises view_traits. Keep the tensor alive.
  template <class Tensor>
    requires viewable_as<Tensor, T, Rank>
  view(Tensor& tensor) : view(view_traits<Tensor>::of(tensor)) {}
  /// A view of a temporary that owns nothing, such as another kind of view.
  template <class Tensor>
    requires(!std::is_lvalue_reference_v<Tensor>) && viewable_as<Tensor, T, Rank>
  view(Tensor&& tensor) : view(view_traits<Tensor>::of(tensor)) {
    static_assert(
        view_traits<Tensor>::owns_nothing,
        "relpos: a view refers to a tensor and does not copy it: give the tensor a name and "
        "keep it alive, instead of passing a temporary");
  }

  /// Number of elements.
  constexpr index_t size() const {
    index_t count = 1;
    for (const index_t extent : shape) count = product(count, extent);
    return count;
  }

  /// Elements [first, first + count) of one axis.
  constexpr view slice(int axis, index_t first, index_t count) const {
    view result = *this;
    const auto i = static_cast<std::size_t>(axis);
    result.data += first * strides[i];
    result.shape[i] = count;
    return result;
  }

  /// The element at these indices, which are not checked.
  template <class... Indices>
    requires(sizeof...(Indices) == Rank)
  constexpr T& operator()(Indices... indices) const {
    return *address(indices...);
  }

  /// The address of an element. Also valid for a row without elements, unlike a reference.
  template <class... Indices>
    requires(sizeof...(Indices) == Rank)
  constexpr T* address(Indices... indices) const {
    const index_t* stride = strides.data();
    index_t offset = 0;
    ((offset += static_cast<index_t>(indices) * *stride++), ...);
    return data + offset;
  }

 private:
  static constexpr index_t product(index_t a, index_t b) {
    return static_cast<index_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
