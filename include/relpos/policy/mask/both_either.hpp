#pragma once
// Combinations of two masks: keys that both masks show, or at least one of them.

#include <algorithm>

#include "relpos/contract/mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// The base of both and either: two policies that are masks and no biases. `Combined` is the mask
/// that derives from it.
template <template <class, class> class Combined, class A, class B>
struct two_masks {
  static_assert(is_mask<A> && is_mask<B> && !is_bias<A> && !is_bias<B>,
                "relpos: both and either combine two masks");
  A a;
  B b;

  constexpr two_masks(A first, B second) : a(first), b(second) {}

  constexpr auto bind(index_t batch, index_t head) const
    requires(binds<A> || binds<B>)
  {
    return Combined<head_policy_of<A>, head_policy_of<B>>(relpos::bind(a, batch, head),
                                                          relpos::bind(b, batch, head));
  }
  status check(const attention_shape& shape) const {
    status result;
    if constexpr (requires { a.check(shape); }) result = a.check(shape);
    if constexpr (requires { b.check(shape); }) {
      if (result) result = b.check(shape);
    }
    return result;
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    status result;
    if constexpr (requires { a.check_sequences(call); }) result = a.check_sequences(call);
    if constexpr (requires { b.check_sequences(call); }) {
      if (result) result = b.check_sequences(call);
    }
    return result;
  }
  bool reads(const byte_range& memory) const {
    bool result = false;
    if constexpr (requires { a.reads(memory); }) result = a.reads(memory);
    if constexpr (requires { b.reads(memory); }) result = result || b.reads(memory);
    return result;
  }
};

/// The class of a tile under a bound mask: key ranges, a predicate, or both.
template <class HeadPolicy>
constexpr tile_class classify(const HeadPolicy& mask, const tile& region) {
  return both_of(classify_ranges(mask, region), classify_elements(mask, region));
}

/// @addtogroup masks
/// @{

/// Two masks of which both must show a key.
///
/// `both{a, b}`: for use inside `either`; the masks of a call are and-ed without it.
///
/// @snippet reference.cpp both_either
template <class A, class B>
struct both : two_masks<both, A, B> {
  using two_masks<both, A, B>::two_masks;

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
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
  constexpr tile_class classify(const tile& region) const
    requires(masks_elements<A> || masks_elements<B>)
  {
    return both_of(relpos::classify(this->a, region), relpos::classify(this->b, region));
  }
};
/// @cond
template <class A, class B>
both(A, B) -> both<A, B>;
/// @endcond

/// Two masks of which at least one must show a key.
///
/// `either{a, b}`: over a ring, the window is the earlier one of both; a mask without a window does
/// not count.
///
/// @snippet reference.cpp both_either
template <class A, class B>
struct either : two_masks<either, A, B> {
  using two_masks<either, A, B>::two_masks;

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  /// The first key of the window, or of the earlier of two windows. A mask without a window does
  /// not count: a ring keeps the sinks beside a window.
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
  constexpr tile_class classify(const tile& region) const {
    return either_of(relpos::classify(this->a, region), relpos::classify(this->b, region));
  }
};
/// @cond
template <class A, class B>
either(A, B) -> either<A, B>;
/// @endcond

/// @}

}  // namespace relpos::inline RELPOS_ABI
