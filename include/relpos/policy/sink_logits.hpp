#pragma once
// A learned logit per head that is added to the denominator of the softmax and has no value. The
// sink takes the weight of a query without relevant keys (gpt-oss; Xiao et al., arXiv 2309.17453,
// section 4.2, "learnable sink"; Miller, "Attention is off by one", is a logit of 0).
//
//   p_j = e^(s_j) / (e^sink + sum of e^(s_i))

#include <array>
#include <limits>

#include "relpos/check/numbers.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup softmax
/// @{

/// A learned logit per head in the denominator of the softmax, without a value (gpt-oss).
///
/// `sink_logits{values}`: one logit per query head, of magnitude up to 1e30, or -inf for no sink;
/// the caller keeps them alive. The logit is neither scaled nor divided by a temperature. lse
/// includes it.
///
/// @copydetails sink_logits.hpp
/// @snippet reference.cpp sink_logits
struct sink_logits {
  borrowed_data values;  ///< [query heads]

  /// The logits of all query heads.
  constexpr sink_logits(borrowed_data head_logits) : values(head_logits) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_head {
    float value;
    constexpr float sink_logit() const { return value; }
  };
  constexpr of_head bind(index_t head) const { return {values.data[head]}; }

  status check(const attention_shape& shape) const {
    if (status valid = check_per_head("sink_logits", "values", values, shape); !valid) return valid;
    return check_finite_per_head("sink_logits", "values", values, 1e30f, true);
  }
  bool reads(const byte_range& memory) const { return values.overlaps(memory); }
};

/// A sink logit for each query row (Inkling 2).
///
/// `row_sink_logits{values}`: one logit for each query row, computed by the model (Inkling 2), a
/// view or tensor of float, [batch, heads, query], indexed by the rows of the call; otherwise the
/// same as sink_logits. On the CPU only.
///
/// @copydetails sink_logits.hpp
/// @snippet reference.cpp row_sink_logits
struct row_sink_logits {
  view<const float, 3> values;  ///< [batch, heads, query]

  /// Takes a view or tensor of float.
  constexpr row_sink_logits(view<const float, 3> logits) : values(logits) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_head {
    const float* data;
    index_t stride;
    constexpr float sink_logit(index_t query_row) const { return data[query_row * stride]; }
  };
  constexpr of_head bind(index_t batch, index_t head) const {
    return {values.data + batch * values.strides[0] + head * values.strides[1], values.strides[2]};
  }

  status check(const attention_shape& shape) const {
    if (status valid = check_view("row_sink_logits: values", values); !valid) return valid;
    const std::array<index_t, 3> rows{shape.batch, shape.query_heads, shape.query_length};
    if (values.shape != rows) {
      return shapes_differ("row_sink_logits: values are %s, must be [batch, heads, query] = %s",
                           values.shape, rows);
    }
    for (index_t batch = 0; batch < rows[0]; ++batch) {
      for (index_t head = 0; head < rows[1]; ++head) {
        for (index_t row = 0; row < rows[2]; ++row) {
          const float value = values(batch, head, row);
          if (value <= 1e30f &&
              (value >= -1e30f || value == -std::numeric_limits<float>::infinity())) {
            continue;
          }
          return status::error(status_code::invalid_value,
                               "row_sink_logits: values have %g at [%lld, %lld, %lld], must be "
                               "within +-1e30 or -inf",
                               static_cast<double>(value), static_cast<long long>(batch),
                               static_cast<long long>(head), static_cast<long long>(row));
        }
      }
    }
    return {};
  }
  bool reads(const byte_range& memory) const { return byte_range::of(values).overlaps(memory); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
