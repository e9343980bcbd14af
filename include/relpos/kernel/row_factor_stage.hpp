#pragma once
// The last stage before the mask: the factors of the rows' logits, bias included. Same interface as a bias
// stage; nothing where no policy has any.

#include <limits>
#include <tuple>

#include "relpos/core/policy.hpp"
#include "relpos/kernel/geometry.hpp"
#include "relpos/kernel/group_rows.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

/// The product of the factors that policies have for one row; `visible` is the number of keys that it sees.
template <class... Bound>
float logit_factor(const std::tuple<Bound...>& bound, index q_pos, index visible) {
  float product = 1.0f;
  const auto multiply = [&](const auto& policy) {
    using bound_type = std::decay_t<decltype(policy)>;
    if constexpr (scales_by_count<bound_type>) {
      product *= policy.logit_factor(q_pos, visible);
    } else if constexpr (scales_by_position<bound_type>) {
      product *= policy.logit_factor(q_pos);
    }
  };
  std::apply([&](const auto&... each) { (multiply(each), ...); }, bound);
  return product;
}

template <class Isa>
class row_factor_stage {
 public:
  /// `visible(lane)` counts keys.
  template <class Visible, class RowPositions, class... Bound>
  row_factor_stage(const std::tuple<Bound...>& bound, const group_rows& rows,
                   const RowPositions& position, const Visible& visible) {
    for (index lane = 0; lane < rows.count; ++lane) {
      factors_[lane] = logit_factor(bound, position.query(rows.first_row + lane), visible(lane));
    }
  }

  struct key_factor {
    using real = float_pack<Isa>;
    const float* factors;

    template <int V>
    RELPOS_INLINE real apply(real s) const {
      // A key that a bias hides stays hidden where the factor is 0 or negative.
      const real hidden(-std::numeric_limits<float>::infinity());
      return select(s == hidden, hidden, s * real::load(factors + V * lanes<Isa>));
    }
  };
  RELPOS_INLINE key_factor key(index) const { return {factors_}; }

 private:
  float factors_[geometry<Isa>::group_rows] = {};
};

}  // namespace relpos::inline RELPOS_ABI
