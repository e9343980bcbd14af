#pragma once
// pack<T, Isa>: one vector register of float, int32 or uint32 lanes, with the operations that the
// kernels and the vector-generic members of policies use. A comparison returns int32 lanes of 0 and
// -1.
//
// docs/extending.md lists the files that a new instruction set takes.

#include <type_traits>

#include "relpos/simd/avx2.hpp"
#include "relpos/simd/avx512.hpp"
#include "relpos/simd/generic.hpp"
#include "relpos/simd/neon.hpp"
#include "relpos/simd/vector128.hpp"

namespace relpos::inline RELPOS_ABI {

template <class Isa>
using float_pack = pack<float, Isa>;
template <class Isa>
using int_pack = pack<std::int32_t, Isa>;

// The functions of core/math.hpp on packs. The first argument determines the type of the pack; the
// others may be numbers.

template <class T>
using same_pack = std::type_identity_t<T>;

/// a * b + c, rounded once where the instruction set can.
template <class T, class Isa>
RELPOS_INLINE pack<T, Isa> fma(pack<T, Isa> a, same_pack<pack<T, Isa>> b,
                               same_pack<pack<T, Isa>> c) {
  return pack<T, Isa>::multiply_add(a, b, c);
}

/// The larger of two; `b` where one of them is not a number.
template <class T, class Isa>
RELPOS_INLINE pack<T, Isa> max(pack<T, Isa> a, same_pack<pack<T, Isa>> b) {
  return pack<T, Isa>::larger(a, b);
}

/// The smaller of two; `b` where one of them is not a number.
template <class T, class Isa>
RELPOS_INLINE pack<T, Isa> min(pack<T, Isa> a, same_pack<pack<T, Isa>> b) {
  return pack<T, Isa>::smaller(a, b);
}

template <class T, class Isa>
RELPOS_INLINE pack<T, Isa> abs(pack<T, Isa> a) {
  return pack<T, Isa>::magnitude(a);
}

/// Lane by lane `condition ? a : b`. `a` determines the type of the pack.
template <class T, class Isa>
RELPOS_INLINE pack<T, Isa> select(int_pack<Isa> condition, pack<T, Isa> a,
                                  same_pack<pack<T, Isa>> b) {
  return pack<T, Isa>::choose(condition, a, b);
}

}  // namespace relpos::inline RELPOS_ABI
