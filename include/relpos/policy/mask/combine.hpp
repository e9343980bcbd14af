#pragma once
// Masks made of masks. The masks of a call are and-ed; `both` and `either` make one of two where that is
// not enough: `either{both{causal{}, band{255, 0}}, sinks{4}}`.

#include <type_traits>

#include "relpos/core/policy.hpp"

namespace relpos::inline RELPOS_ABI {

/// Whether a bound mask of either kind lets a query see a key.
template <class Bound>
constexpr bool sees(const Bound& mask, index q_pos, index k_pos) {
  bool result = true;
  if constexpr (masks_range<Bound>) result = mask.visible_keys(q_pos).contains(k_pos);
  if constexpr (masks_elements<Bound>) result = result && mask.keep(q_pos, k_pos);
  return result;
}

/// What a bound mask of either kind says of a tile.
template <class Bound>
constexpr tile_class classify(const Bound& mask, const tile& of) {
  tile_class result = tile_class::full;
  if constexpr (masks_range<Bound>) {
    bool some = false;
    bool all = true;
    for (index q_pos = of.first_query; q_pos < of.last_query; ++q_pos) {
      const key_range keys = mask.visible_keys(q_pos);
      some =
          some || (keys.first < of.last_key && of.first_key < keys.last && keys.first < keys.last);
      all = all && keys.first <= of.first_key && of.last_key <= keys.last;
    }
    result = !some ? tile_class::skip : all ? tile_class::full : tile_class::partial;
  }
  if constexpr (masks_elements<Bound>) {
    tile_class said = tile_class::partial;
    if constexpr (requires { mask.classify(of); }) said = mask.classify(of);
    if (said == tile_class::skip || result == tile_class::skip) return tile_class::skip;
    if (said == tile_class::partial) return tile_class::partial;
  }
  return result;
}

/// What two masks share: policies that are masks and nothing else.
template <class A, class B>
struct two_masks {
  static_assert(is_mask<A> && is_mask<B> && !is_bias<A> && !is_bias<B>,
                "relpos: both and either combine two masks");
  A a;
  B b;

  constexpr two_masks(A first, B second) : a(first), b(second) {}

  status check(const attention_shape& shape) const {
    status result;
    if constexpr (requires { a.check(shape); }) result = a.check(shape);
    if constexpr (requires { b.check(shape); }) {
      if (result) result = b.check(shape);
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

/// Whether the policy of a head is another type than the policy.
template <class Mask>
inline constexpr bool binds = !std::is_same_v<bound_policy<Mask>, Mask>;

/// A key that both masks let a query see.
template <class A, class B>
struct both : two_masks<A, B> {
  using two_masks<A, B>::two_masks;

  constexpr auto bind(index batch, index head) const
    requires(binds<A> || binds<B>)
  {
    return both<bound_policy<A>, bound_policy<B>>(relpos::bind(this->a, batch, head),
                                                  relpos::bind(this->b, batch, head));
  }
  constexpr key_range visible_keys(index q_pos) const
    requires(masks_range<A> && masks_range<B> && !masks_elements<A> && !masks_elements<B>)
  {
    return intersect(this->a.visible_keys(q_pos), this->b.visible_keys(q_pos));
  }
  constexpr bool keep(index q_pos, index k_pos) const
    requires(masks_elements<A> || masks_elements<B>)
  {
    return sees(this->a, q_pos, k_pos) && sees(this->b, q_pos, k_pos);
  }
  constexpr tile_class classify(const tile& of) const
    requires(masks_elements<A> || masks_elements<B>)
  {
    const tile_class by_a = relpos::classify(this->a, of);
    const tile_class by_b = relpos::classify(this->b, of);
    if (by_a == tile_class::skip || by_b == tile_class::skip) return tile_class::skip;
    const bool full = by_a == tile_class::full && by_b == tile_class::full;
    return full ? tile_class::full : tile_class::partial;
  }
};
template <class A, class B>
both(A, B) -> both<A, B>;

/// A key that at least one of two masks lets a query see.
template <class A, class B>
struct either : two_masks<A, B> {
  using two_masks<A, B>::two_masks;

  constexpr auto bind(index batch, index head) const
    requires(binds<A> || binds<B>)
  {
    return either<bound_policy<A>, bound_policy<B>>(relpos::bind(this->a, batch, head),
                                                    relpos::bind(this->b, batch, head));
  }
  constexpr bool keep(index q_pos, index k_pos) const {
    return sees(this->a, q_pos, k_pos) || sees(this->b, q_pos, k_pos);
  }
  constexpr tile_class classify(const tile& of) const {
    const tile_class by_a = relpos::classify(this->a, of);
    const tile_class by_b = relpos::classify(this->b, of);
    if (by_a == tile_class::full || by_b == tile_class::full) return tile_class::full;
    const bool none = by_a == tile_class::skip && by_b == tile_class::skip;
    return none ? tile_class::skip : tile_class::partial;
  }
};
template <class A, class B>
either(A, B) -> either<A, B>;

}  // namespace relpos::inline RELPOS_ABI
