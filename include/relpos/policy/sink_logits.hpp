#pragma once
// A learned logit per head that joins the denominator of the softmax and has no value: where a
// query has nothing to look at, it looks there (gpt-oss; Xiao et al., arXiv 2309.17453, section
// 4.2, "learnable sink"; Miller, "Attention is off by one", is a logit of 0).
//
//   p_j = e^(s_j) / (e^sink + sum of e^(s_i))

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// `sink_logits{values}`: one per query head, kept by the caller; finite to 1e30, or -inf for none.
/// Neither scaled nor divided by a temperature. lse includes it.
struct sink_logits {
  borrowed_data values;

  constexpr sink_logits(borrowed_data per_head) : values(per_head) {}

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

}  // namespace relpos::inline RELPOS_ABI
