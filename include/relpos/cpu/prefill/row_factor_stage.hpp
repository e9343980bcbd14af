#pragma once
// The last stage before the mask: the factors of the rows' logits, bias included. Same interface as a bias
// stage; nothing where no policy has any.

#include <tuple>

#include "relpos/call/scale.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/cpu/prefill/group_rows.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/stage/row_factor.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
class row_factor_stage {
 public:
  /// `visible(lane)` counts keys.
  template <class Visible, class RowPositions, class... Bound>
  row_factor_stage(const std::tuple<Bound...>& bound, const group_rows& rows,
                   const RowPositions& position, const Visible& visible) {
    for (index_t lane = 0; lane < rows.count; ++lane) {
      factors_[lane] = logit_factor(bound, position.query(rows.first_row + lane), visible(lane));
    }
  }

  struct key_factor {
    using real = float_pack<Isa>;
    const float* factors;

    RELPOS_INLINE real apply(int v, real s) const {
      return times_row_factor(s, real::load(factors + v * lanes<Isa>));
    }
  };
  RELPOS_INLINE key_factor key(index_t) const { return {factors_}; }

 private:
  float factors_[geometry<Isa>::group_rows] = {};
};

}  // namespace relpos::inline RELPOS_ABI
