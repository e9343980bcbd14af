#pragma once
// Eigen's vectors and matrices as the data of policies: slopes, tables.

#include <Eigen/Core>

#include <type_traits>

#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

// Never defined: concepts test which types they accept.
template <class Derived>
void takes_dense(const Eigen::DenseBase<Derived>&);
template <class Derived>
void takes_packed(const Eigen::PlainObjectBase<Derived>&);
template <class Plain, int Options>
void takes_packed(const Eigen::Map<Plain, Options>&);

/// Matrix, Array, Map, Ref and blocks of them.
template <class T>
concept eigen_dense = requires(const T& object) { takes_dense(object); };

/// Dense types without strides, whatever their shape: Matrix, Array, and Map of them.
template <class T>
concept eigen_packed = requires(const T& object) { takes_packed(object); };

/// A vector has rank 1, a matrix rank 2. The elements must be contiguous.
template <class Dense>
  requires eigen_dense<Dense>
struct view_traits<Dense> {
  using plain = std::remove_const_t<Dense>;
  static constexpr bool is_vector = plain::IsVectorAtCompileTime;
  static constexpr bool is_contiguous = is_vector
                                            ? static_cast<int>(plain::InnerStrideAtCompileTime) == 1
                                            : eigen_packed<plain> && plain::IsRowMajor;
  static_assert(
      is_contiguous,
      "relpos: policy data (slopes, tables) is contiguous: an Eigen matrix is RowMajor, and "
      "no row, column or block of another; copy it into one that is");

  static constexpr bool owns_nothing = false;
  static constexpr int rank = is_vector ? 1 : 2;
  using value_type = const typename plain::Scalar;

  static view<value_type, rank> of(const Dense& dense) {
    if constexpr (is_vector) {
      return {dense.data(), {static_cast<index_t>(dense.size())}};
    } else {
      return {dense.data(),
              {static_cast<index_t>(dense.rows()), static_cast<index_t>(dense.cols())}};
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
