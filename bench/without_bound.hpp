#pragma once

#include "relpos/views.hpp"

namespace relpos::bench {

/// ALiBi without its upper bound, so that no tile is left out: the cost of the bias alone.
struct without_bound {
  alibi policy;

  struct head_bias {
    linear_bias head;
    template <class Real>
    Real bias(Real distance) const {
      return head.bias(distance);
    }
    template <class Real>
    Real add_to(Real score, Real distance) const {
      return head.add_to(score, distance);
    }
    head_bias scaled(float factor) const { return {head.scaled(factor)}; }
  };
  head_bias bind(index_t head) const { return {policy.bind(head)}; }
};

}  // namespace relpos::bench
