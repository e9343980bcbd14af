#pragma once
// The stages of one query group between the biases and the mask. They have the interface of a bias
// stage: `key(row)` prepares a key, `apply(v, s)` changes vector v.

#include <tuple>

#include "relpos/call/scale.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/simd/pack.hpp"
#include "relpos/simd/tanh.hpp"
#include "relpos/stage/score.hpp"

namespace relpos::inline RELPOS_ABI {

/// The cap of score and bias; absent if no policy caps.
template <class Isa>
class cap_stage {
 public:
  /// `cap` is in units of the exponent.
  explicit cap_stage(float cap) : cap_(cap) {}

  struct key_cap {
    using real = float_pack<Isa>;
    float cap;

    RELPOS_INLINE real apply(int, real s) const {
      const auto tanh_of = [](real x) RELPOS_LAMBDA { return tanh<Isa>(x); };
      return capped_score(tanh_of, s, real(cap), real(1.0f / cap));
    }
  };
  RELPOS_INLINE key_cap key(index_t) const { return {cap_}; }

 private:
  float cap_;
};

/// The last stage before the mask: the factors of the rows' logits, bias included; absent if no
/// policy has row factors.
template <class Isa>
class row_factor_stage {
 public:
  /// `visible(lane)` returns the number of keys that the query of a lane sees.
  template <class Visible, class RowPositions, class... HeadPolicies>
  row_factor_stage(const std::tuple<HeadPolicies...>& head_policies, const group_rows& rows,
                   const RowPositions& position, const Visible& visible) {
    for (index_t lane = 0; lane < rows.count; ++lane) {
      const index_t row = rows.first_row + lane;
      factors_[lane] = logit_factor(head_policies, row, position.query(row), visible(lane));
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
