#pragma once
// A bias matrix that the caller already has: s += bias[batch, head, query row, key row].
//
// Prefer a relative bias if the model has one, because the memory and the traffic of the matrix are
// quadratic in the length. An element of minus infinity hides a key from a query. The output of a
// query without visible keys is 0.

#include <type_traits>

#include "relpos/check/shapes.hpp"
#include "relpos/contract/head_policies.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// A bias matrix that the caller has, an element for each query and key.
///
/// `additive_bias{matrix}`: a view or a tensor [batch, head, query, key] of float. An axis of
/// extent 1 is broadcast. Indices are rows of this call, whatever the position offsets. Over a
/// cache the matrix has one column for each row of the longest sequence, including rows that a ring
/// has evicted; columns of evicted rows may hold any values. The caller keeps the matrix alive.
///
/// @copydoc additive_bias.hpp
/// @snippet reference.cpp additive_bias
struct additive_bias {
  view<const float, 4> matrix;  ///< [batch or 1, heads or 1, query or 1, key or 1]

  /// Takes a view, or a tensor with four axes.
  constexpr additive_bias(view<const float, 4> values) : matrix(values) {}

  /// Refuses other types when it compiles, with a message.
  template <class Other>
    requires(!std::is_convertible_v<Other, view<const float, 4>> &&
             !std::is_same_v<Other, additive_bias>)
  constexpr additive_bias(const Other&) {
    static_assert(std::is_same_v<Other, view<const float, 4>>,
                  "relpos: the matrix of additive_bias is a view or a tensor of float with four "
                  "axes, [batch, head, query, key]; evaluate an expression first");
  }

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr matrix_bias bind(index_t batch, index_t head) const {
    return {matrix.data + batch * stride(0) + head * stride(1), stride(2), stride(3)};
  }

  status check(const attention_shape& shape) const {
    const index_t extents[4] = {shape.batch, shape.query_heads, shape.query_length,
                                shape.key_length};
    const auto fits = [&](std::size_t axis) {
      return matrix.shape[axis] == extents[axis] || matrix.shape[axis] == 1;
    };
    const auto text = [](index_t extent) { return static_cast<long long>(extent); };
    if (!(fits(0) && fits(1) && fits(2) && fits(3))) {
      return status::error(
          status_code::invalid_shape,
          "additive_bias: matrix is [%lld, %lld, %lld, %lld], must be [batch, head, "
          "query, key] = [%lld, %lld, %lld, %lld] or 1 where broadcast%s",
          text(matrix.shape[0]), text(matrix.shape[1]), text(matrix.shape[2]),
          text(matrix.shape[3]), text(extents[0]), text(extents[1]), text(extents[2]),
          text(extents[3]),
          fits(3) ? ""
                  : "; keys are all rows of the longest sequence, also those that a cache has "
                    "evicted");
    }
    return check_view("additive_bias: matrix", matrix);
  }
  bool reads(const byte_range& memory) const { return byte_range::of(matrix).overlaps(memory); }

 private:
  constexpr index_t stride(std::size_t axis) const {
    return matrix.shape[axis] == 1 ? 0 : matrix.strides[axis];
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
