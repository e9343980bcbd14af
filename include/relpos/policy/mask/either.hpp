#pragma once

#include <algorithm>

#include "relpos/policy/mask/two_masks.hpp"

namespace relpos::inline RELPOS_ABI {

/// `either{a, b}`: a key that at least one of two masks lets a query see, as in
/// `either{both{causal{}, band{255, 0}}, sinks{4}}`.
template <class A, class B>
struct either : two_masks<either, A, B> {
  using two_masks<either, A, B>::two_masks;

  /// Sinks beside a window are for the ring to keep: the window alone tells.
  constexpr index_t window_start(index_t q_pos) const
    requires(slides_window<A> || slides_window<B>)
  {
    if constexpr (!slides_window<A>) {
      return this->b.window_start(q_pos);
    } else if constexpr (!slides_window<B>) {
      return this->a.window_start(q_pos);
    } else {
      return std::min(this->a.window_start(q_pos), this->b.window_start(q_pos));
    }
  }
  constexpr bool keep(index_t q_pos, index_t k_pos) const {
    return sees(this->a, q_pos, k_pos) || sees(this->b, q_pos, k_pos);
  }
  constexpr tile_class classify(const tile& of) const {
    return either_of(relpos::classify(this->a, of), relpos::classify(this->b, of));
  }
};
template <class A, class B>
either(A, B) -> either<A, B>;

}  // namespace relpos::inline RELPOS_ABI
