#pragma once
// pack over a plain array: one loop per operation, no compiler extension.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "relpos/core/math.hpp"
#include "relpos/core/storage.hpp"
#include "relpos/simd/isa.hpp"

namespace relpos::inline RELPOS_ABI {

template <class T, class Isa>
struct pack;

template <class T, int N, bool HasMatrixUnit>
struct pack<T, generic<N, HasMatrixUnit>> {
  using isa = generic<N, HasMatrixUnit>;
  using mask = pack<std::int32_t, isa>;
  template <class U>
  using same_lanes = pack<U, isa>;
  static constexpr int size = N;

  T lane[N];

  pack() = default;
  RELPOS_INLINE pack(T value) {
    for (T& x : lane) x = value;
  }

  template <class F>
  static RELPOS_INLINE pack each(F&& f) {
    pack result;
    for (int i = 0; i < N; ++i) result.lane[i] = f(i);
    return result;
  }
  template <class F>
  static RELPOS_INLINE mask test(F&& f) {
    return mask::each([&](int i) { return f(i) ? -1 : 0; });
  }

  static RELPOS_INLINE pack load(const T* source) {
    return each([&](int i) { return source[i]; });
  }
  /// Loads and converts numbers from 16-bit or 8-bit storage.
  template <cache_storage S>
    requires(!std::is_same_v<S, T>)
  static RELPOS_INLINE pack load(const S* source) {
    return each([&](int i) { return static_cast<T>(source[i]); });
  }
  /// Loads and converts unsigned bytes.
  static RELPOS_INLINE pack of_bytes(const std::uint8_t* source)
    requires std::is_same_v<T, std::uint32_t>
  {
    return each([&](int i) { return static_cast<T>(source[i]); });
  }
  /// One half in all lanes.
  static RELPOS_INLINE pack broadcast(const half& value) { return pack(static_cast<T>(value)); }
  RELPOS_INLINE void store(T* out) const {
    for (int i = 0; i < N; ++i) out[i] = lane[i];
  }
  static RELPOS_INLINE pack iota() {
    return each([](int i) { return static_cast<T>(i); });
  }

  friend RELPOS_INLINE pack operator+(pack a, pack b) {
    return each([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  friend RELPOS_INLINE pack operator-(pack a, pack b) {
    return each([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  friend RELPOS_INLINE pack operator*(pack a, pack b) {
    return each([&](int i) { return a.lane[i] * b.lane[i]; });
  }
  friend RELPOS_INLINE pack operator/(pack a, pack b) {
    return each([&](int i) { return a.lane[i] / b.lane[i]; });
  }
  friend RELPOS_INLINE pack operator&(pack a, pack b) {
    return each([&](int i) { return a.lane[i] & b.lane[i]; });
  }
  friend RELPOS_INLINE pack operator-(pack a) {
    return each([&](int i) { return -a.lane[i]; });
  }
  friend RELPOS_INLINE mask operator<(pack a, pack b) {
    return test([&](int i) { return a.lane[i] < b.lane[i]; });
  }
  friend RELPOS_INLINE mask operator<=(pack a, pack b) {
    return test([&](int i) { return a.lane[i] <= b.lane[i]; });
  }
  friend RELPOS_INLINE mask operator>(pack a, pack b) { return b < a; }
  friend RELPOS_INLINE mask operator>=(pack a, pack b) { return b <= a; }
  friend RELPOS_INLINE mask operator==(pack a, pack b) {
    return test([&](int i) { return a.lane[i] == b.lane[i]; });
  }

  /// a * b + c. Not fused on a processor without a fused multiply-add, where it would be a library
  /// call. On a processor with one, the builtin always fuses it: compilers may fuse a * b + c in
  /// one place and not in another, and the same code would have different bits.
  static RELPOS_INLINE pack multiply_add(pack a, pack b, pack c) {
    if constexpr (RELPOS_HAS_FMA) {
      return each([&](int i) { return __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]); });
    } else {
      return a * b + c;
    }
  }
  static RELPOS_INLINE pack larger(pack a, pack b) {
    return each([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static RELPOS_INLINE pack smaller(pack a, pack b) {
    return each([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static RELPOS_INLINE pack magnitude(pack a) {
    return each([&](int i) { return relpos::abs(a.lane[i]); });
  }
  static RELPOS_INLINE pack choose(mask condition, pack a, pack b) {
    return each([&](int i) { return condition.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  /// `evens`: lanes 0, 2, 4, ... of `a`, then of `b`. `odds`: lanes 1, 3, 5, ...
  static RELPOS_INLINE pack evens(pack a, pack b) {
    return each([&](int i) { return 2 * i < N ? a.lane[2 * i] : b.lane[2 * i - N]; });
  }
  static RELPOS_INLINE pack odds(pack a, pack b) {
    return each([&](int i) { return 2 * i < N ? a.lane[2 * i + 1] : b.lane[2 * i + 1 - N]; });
  }
  /// Sums of neighbouring lanes. Every four lanes of the result are two sums of `a`, then two sums
  /// of `b`, from the same four lanes.
  static RELPOS_INLINE pack add_neighbours(pack a, pack b) {
    return each([&](int i) {
      const T* const source = (i % 4 < 2 ? a : b).lane + i / 4 * 4 + i % 2 * 2;
      return source[0] + source[1];
    });
  }
  /// Lane-by-lane sums of neighbouring groups of four lanes: the sums of `a`, then the sums of `b`.
  /// A pack has two such groups or more.
  static RELPOS_INLINE pack add_neighbouring_fours(pack a, pack b) {
    return each([&](int i) {
      const int first = i / 4 * 8 + i % 4;
      const T* const source = first < N ? a.lane + first : b.lane + (first - N);
      return source[0] + source[4];
    });
  }
  /// The lanes in reverse order.
  friend RELPOS_INLINE pack reversed(pack a) {
    return each([&](int i) { return a.lane[N - 1 - i]; });
  }
  friend RELPOS_INLINE pack shift_left(pack a, int bits) {
    return each(
        [&](int i) { return static_cast<T>(static_cast<std::uint32_t>(a.lane[i]) << bits); });
  }
  friend RELPOS_INLINE pack shift_right(pack a, int bits) {
    return each([&](int i) { return static_cast<T>(a.lane[i] >> bits); });
  }
  /// The same bits as lanes of another type.
  template <class To>
  RELPOS_INLINE pack<To, isa> bits_as() const {
    return pack<To, isa>::each([&](int i) { return std::bit_cast<To>(lane[i]); });
  }
  /// Whether any lane of a mask is true.
  friend RELPOS_INLINE bool any(pack condition) {
    bool result = false;
    for (const T x : condition.lane) result |= x != T(0);
    return result;
  }
};

}  // namespace relpos::inline RELPOS_ABI
