#pragma once
// What `both` and `either` share: holding two policies that are masks and nothing else.

#include "relpos/contract/mask.hpp"

namespace relpos::inline RELPOS_ABI {

/// `Combined` is the mask that derives from this.
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
    return Combined<bound_policy<A>, bound_policy<B>>(relpos::bind(a, batch, head),
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

/// What a bound mask of either kind says of a tile.
template <class Bound>
constexpr tile_class classify(const Bound& mask, const tile& of) {
  return both_of(classify_ranges(mask, of), classify_elements(mask, of));
}

}  // namespace relpos::inline RELPOS_ABI
