#pragma once
// A relative bias times a factor per query, as in WavLM (Chen et al., arXiv 2110.13900, section
// 3.2):
//
//   s += gate[batch, head, query row] * bias(head, distance)

#include <type_traits>

#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The gates of one head. Not a member of gated_bias, because the type of its bias may be a lambda,
/// which GPU kernels cannot name.
struct head_gates {
  const float* data;
  index_t stride;
  constexpr float row_gate(index_t query_row) const { return data[query_row * stride]; }
};

/// @addtogroup encodings
/// @{

/// A tabulated bias times a factor per query, as in WavLM.
///
/// `gated_bias{gates, relative_bias{...}}`, `gated_bias{gates, t5_bias{...}}`: any tabulated bias.
/// `gates` is a view or tensor of float, [batch, heads, query], indexed by the rows of the call;
/// the caller keeps it alive. The default scale is 1 / sqrt(head_dim), also with t5_bias.
///
/// @copydoc gated_bias.hpp
/// @snippet reference.cpp gated_bias
template <class Bias>
struct gated_bias {
  static_assert(tabulates_bias<Bias>,
                "relpos: gated_bias takes a bias that is tabulated: relative_bias, t5_bias");

  view<const float, 3> gates;  ///< [batch, heads, query]
  Bias bias;                   ///< relative_bias or t5_bias

  /// The gates of all rows, and the bias that they multiply.
  constexpr gated_bias(view<const float, 3> row_gates, Bias gated_policy)
      : gates(row_gates), bias(gated_policy) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  double tabulated_bias(index_t head, index_t distance) const {
    return static_cast<double>(bias.tabulated_bias(head, distance));
  }
  constexpr distance_range varies() const
    requires requires(const Bias& policy) { policy.varies(); }
  {
    return bias.varies();
  }

  constexpr head_gates bind(index_t batch, index_t head) const {
    return {gates.data + batch * gates.strides[0] + head * gates.strides[1], gates.strides[2]};
  }

  status check(const attention_shape& shape) const {
    if (status valid = check_view("gated_bias: gates", gates); !valid) return valid;
    const std::array<index_t, 3> rows{shape.batch, shape.query_heads, shape.query_length};
    if (gates.shape != rows) {
      return shapes_differ("gated_bias: gates are %s, must be [batch, heads, query] = %s",
                           gates.shape, rows);
    }
    if constexpr (requires { bias.check(shape); }) return bias.check(shape);
    return {};
  }
  bool reads(const byte_range& memory) const {
    if (byte_range::of(gates).overlaps(memory)) return true;
    if constexpr (requires { bias.reads(memory); }) return bias.reads(memory);
    return false;
  }
};
/// @cond
template <class Gates, class Bias>
gated_bias(Gates&&, Bias) -> gated_bias<Bias>;
/// @endcond

/// @}

}  // namespace relpos::inline RELPOS_ABI
