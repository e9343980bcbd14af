#pragma once
// A learned logit per head that is added to the denominator of the softmax and has no value. The
// sink takes the weight of a query without relevant keys (gpt-oss; Xiao et al., arXiv 2309.17453,
// section 4.2, "learnable sink"; Miller, "Attention is off by one", is a logit of 0).
//
//   p_j = e^(s_j) / (e^sink + sum of e^(s_i))

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// `sink_logits{values}`: one logit per query head, of magnitude up to 1e30, or -inf for no sink;
/// the caller keeps them alive. The logit is neither scaled nor divided by a temperature. lse
/// includes it.
struct sink_logits {
  borrowed_data values;

  constexpr sink_logits(borrowed_data head_logits) : values(head_logits) {}

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
