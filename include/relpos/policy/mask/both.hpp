#pragma once

#include <algorithm>

#include "relpos/policy/mask/two_masks.hpp"

namespace relpos::inline RELPOS_ABI {

/// `both{a, b}`: a key that both masks let a query see. The masks of a call are and-ed without it; it serves
/// inside of `either`.
template <class A, class B>
struct both : two_masks<both, A, B> {
  using two_masks<both, A, B>::two_masks;

  constexpr key_range visible_keys(index_t q_pos) const
    requires(masks_range<A> && masks_range<B> && !masks_elements<A> && !masks_elements<B>)
  {
    return intersect(this->a.visible_keys(q_pos), this->b.visible_keys(q_pos));
  }
  constexpr index_t window_start(index_t q_pos) const
    requires(slides_window<A> || slides_window<B>)
  {
    return std::max(first_seen(this->a, q_pos), first_seen(this->b, q_pos));
  }
  constexpr bool keep(index_t q_pos, index_t k_pos) const
    requires(masks_elements<A> || masks_elements<B>)
  {
    return sees(this->a, q_pos, k_pos) && sees(this->b, q_pos, k_pos);
  }
  constexpr tile_class classify(const tile& of) const
    requires(masks_elements<A> || masks_elements<B>)
  {
    return both_of(relpos::classify(this->a, of), relpos::classify(this->b, of));
  }
};
template <class A, class B>
both(A, B) -> both<A, B>;

}  // namespace relpos::inline RELPOS_ABI
