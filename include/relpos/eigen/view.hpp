#pragma once
// Eigen tensors as views: Tensor and TensorMap, RowMajor, const or not, of the types
// of eigen/storage.hpp.

#include <unsupported/Eigen/CXX11/Tensor>

#include <type_traits>

#include "relpos/core/view.hpp"
#include "relpos/eigen/dense.hpp"
#include "relpos/eigen/storage.hpp"

namespace relpos::inline RELPOS_ABI {

/// The view_traits of Eigen's tensors.
template <class Tensor, bool OwnsNothing>
struct eigen_view_traits {
  static_assert(
      static_cast<int>(Tensor::Layout) == static_cast<int>(Eigen::RowMajor),
      "relpos: tensors are Eigen::RowMajor; for any other layout use a relpos::view with strides");

  using stored = typename storage_of<std::remove_const_t<typename Tensor::Scalar>>::type;
  static_assert(!std::is_void_v<stored>,
                "relpos: tensors hold float, Eigen::bfloat16 or Eigen::half; positions are "
                "relpos::index_t, 64-bit");

  static constexpr bool owns_nothing = OwnsNothing;
  static constexpr int rank = Tensor::NumDimensions;
  using value_type = std::conditional_t<
      std::is_const_v<std::remove_pointer_t<decltype(std::declval<Tensor&>().data())>>,
      const stored, stored>;

  static view<value_type, rank> of(Tensor& tensor) {
    typename view<value_type, rank>::index_array shape{};
    for (int axis = 0; axis < rank; ++axis) {
      shape[static_cast<std::size_t>(axis)] = static_cast<index_t>(tensor.dimension(axis));
    }
    return {reinterpret_cast<value_type*>(tensor.data()), shape};
  }
};

/// @cond
template <class Scalar, int Rank, int Options, class Index>
struct view_traits<Eigen::Tensor<Scalar, Rank, Options, Index>>
    : eigen_view_traits<Eigen::Tensor<Scalar, Rank, Options, Index>, false> {};
template <class Scalar, int Rank, int Options, class Index>
struct view_traits<const Eigen::Tensor<Scalar, Rank, Options, Index>>
    : eigen_view_traits<const Eigen::Tensor<Scalar, Rank, Options, Index>, false> {};
template <class Plain, int Options, template <class> class MakePointer>
struct view_traits<Eigen::TensorMap<Plain, Options, MakePointer>>
    : eigen_view_traits<Eigen::TensorMap<Plain, Options, MakePointer>, true> {};
template <class Plain, int Options, template <class> class MakePointer>
struct view_traits<const Eigen::TensorMap<Plain, Options, MakePointer>>
    : eigen_view_traits<const Eigen::TensorMap<Plain, Options, MakePointer>, true> {};
/// @endcond

/// @addtogroup tensors
/// @{

/// A tensor that attention can read: Eigen::Tensor or Eigen::TensorMap, RowMajor.
template <class Tensor>
concept eigen_tensor = requires { view_traits<std::remove_reference_t<Tensor>>::rank; };

/// A view of an Eigen tensor, vector or matrix. The tensor must outlive the view.
template <class Tensor>
auto view_of(Tensor& tensor) {
  return view_traits<Tensor>::of(tensor);
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
