#pragma once
// pack over the vector types of GCC and clang. `vector_ops<Isa>`, one small file per instruction
// set, has the operations that the extensions lack or compile badly (fused multiply-add, maximum,
// 16-bit conversion).

#include <cstdint>
#include <type_traits>
#include <utility>

#include "relpos/core/storage.hpp"
#include "relpos/simd/isa.hpp"

#if RELPOS_HAS_VECTORS

namespace relpos::inline RELPOS_ABI {

template <class T, class Isa>
struct pack;

template <class T, int Bytes>
struct vector_of {
  typedef T type __attribute__((vector_size(Bytes)));
};
template <class T, class Isa>
using vector_type = typename vector_of<T, Isa::vector_bytes>::type;

template <class T, class Isa>
struct pack {
  using isa = Isa;
  using vector = vector_type<T, Isa>;
  using mask = pack<std::int32_t, Isa>;
  template <class U>
  using same_lanes = pack<U, Isa>;
  using ops = vector_ops<Isa>;
  static constexpr int size = Isa::vector_bytes / static_cast<int>(sizeof(T));

  vector v;

  pack() = default;
  RELPOS_INLINE pack(vector all) : v(all) {}
  RELPOS_INLINE pack(T value) : v(ops::broadcast(value)) {}

  static RELPOS_INLINE pack load(const T* source) {
    vector v;
    __builtin_memcpy(&v, source, sizeof v);
    return v;
  }
  /// Loads and converts numbers from 16-bit or 8-bit storage: by the instruction set, else by the
  /// formula of the storage type.
  template <cache_storage S>
    requires(!std::is_same_v<S, T>)
  static RELPOS_INLINE pack load(const S* source) {
    if constexpr (requires { ops::load(source); }) {
      return ops::load(source);
    } else {
      return storage_traits<S>::template load<pack>(source);
    }
  }
  /// Loads and converts unsigned bytes.
  static RELPOS_INLINE pack of_bytes(const std::uint8_t* source)
    requires std::is_same_v<T, std::uint32_t>
  {
    if constexpr (requires { ops::load(source); }) {
      return ops::load(source);
    } else {
      T lane[size];
      for (int i = 0; i < size; ++i) lane[i] = source[i];
      return load(lane);
    }
  }
  /// One half in all lanes.
  static RELPOS_INLINE pack broadcast(const half& value) {
    if constexpr (requires { ops::broadcast(value); }) {
      return ops::broadcast(value);
    } else {
      return pack(static_cast<T>(value));
    }
  }
  RELPOS_INLINE void store(T* out) const {
    if constexpr (requires { ops::store(v, out); }) {
      ops::store(v, out);
    } else {
      __builtin_memcpy(out, &v, sizeof v);
    }
  }
  static RELPOS_INLINE pack iota() {
    return []<int... I>(std::integer_sequence<int, I...>) RELPOS_LAMBDA {
      return pack(vector{static_cast<T>(I)...});
    }(std::make_integer_sequence<int, size>{});
  }

  friend RELPOS_INLINE pack operator+(pack a, pack b) { return a.v + b.v; }
  friend RELPOS_INLINE pack operator-(pack a, pack b) { return a.v - b.v; }
  friend RELPOS_INLINE pack operator*(pack a, pack b) { return a.v * b.v; }
  friend RELPOS_INLINE pack operator/(pack a, pack b) { return a.v / b.v; }
  friend RELPOS_INLINE pack operator&(pack a, pack b) { return a.v & b.v; }
  friend RELPOS_INLINE pack operator-(pack a) { return -a.v; }
  friend RELPOS_INLINE mask operator<(pack a, pack b) { return mask(a.v < b.v); }
  friend RELPOS_INLINE mask operator<=(pack a, pack b) { return mask(a.v <= b.v); }
  friend RELPOS_INLINE mask operator>(pack a, pack b) { return mask(a.v > b.v); }
  friend RELPOS_INLINE mask operator>=(pack a, pack b) { return mask(a.v >= b.v); }
  friend RELPOS_INLINE mask operator==(pack a, pack b) { return mask(a.v == b.v); }

  static RELPOS_INLINE pack multiply_add(pack a, pack b, pack c) { return ops::fma(a.v, b.v, c.v); }
  static RELPOS_INLINE pack larger(pack a, pack b) { return ops::max(a.v, b.v); }
  static RELPOS_INLINE pack smaller(pack a, pack b) { return ops::min(a.v, b.v); }
  static RELPOS_INLINE pack magnitude(pack a) {
    return (a.template bits_as<std::int32_t>() & pack<std::int32_t, Isa>(0x7fffffff))
        .template bits_as<float>();
  }
  static RELPOS_INLINE pack choose(mask condition, pack a, pack b) {
    return condition.v ? a.v : b.v;
  }
  /// `evens`: lanes 0, 2, 4, ... of `a`, then of `b`. `odds`: lanes 1, 3, 5, ...
  static RELPOS_INLINE pack evens(pack a, pack b) { return every_other<0>(a, b); }
  static RELPOS_INLINE pack odds(pack a, pack b) { return every_other<1>(a, b); }
  /// Sums of neighbouring lanes. Every four lanes of the result are two sums of `a`, then two sums
  /// of `b`, from the same four lanes.
  static RELPOS_INLINE pack add_neighbours(pack a, pack b) {
    if constexpr (requires { ops::add_neighbours(a.v, b.v); }) {
      return ops::add_neighbours(a.v, b.v);
    } else {
      return of_neighbours<0>(a, b) + of_neighbours<1>(a, b);
    }
  }
  /// Lane-by-lane sums of neighbouring groups of four lanes: the sums of `a`, then the sums of `b`.
  /// A pack has two such groups or more.
  static RELPOS_INLINE pack add_neighbouring_fours(pack a, pack b) {
    return of_neighbouring_fours<0>(a, b) + of_neighbouring_fours<1>(a, b);
  }
  /// The lanes in reverse order.
  friend RELPOS_INLINE pack reversed(pack a) {
    return [&]<int... I>(std::integer_sequence<int, I...>) RELPOS_LAMBDA {
      return pack(__builtin_shufflevector(a.v, a.v, (size - 1 - I)...));
    }(std::make_integer_sequence<int, size>{});
  }
  friend RELPOS_INLINE pack shift_left(pack a, int bits) { return a.v << bits; }
  friend RELPOS_INLINE pack shift_right(pack a, int bits) { return a.v >> bits; }
  /// The same bits as lanes of another type.
  template <class To>
  RELPOS_INLINE pack<To, Isa> bits_as() const {
    return reinterpret_cast<vector_type<To, Isa>>(v);
  }
  /// Whether any lane of a mask is true.
  friend RELPOS_INLINE bool any(pack condition) { return ops::any(condition.v); }

 private:
  template <int First>
  static RELPOS_INLINE pack every_other(pack a, pack b) {
    return [&]<int... I>(std::integer_sequence<int, I...>) RELPOS_LAMBDA {
      return pack(__builtin_shufflevector(a.v, b.v, (2 * I + First)...));
    }(std::make_integer_sequence<int, size>{});
  }
  template <int First>
  static RELPOS_INLINE pack of_neighbours(pack a, pack b) {
    return [&]<int... I>(std::integer_sequence<int, I...>) RELPOS_LAMBDA {
      return pack(__builtin_shufflevector(
          a.v, b.v, (I / 4 * 4 + I % 2 * 2 + First + (I % 4 < 2 ? 0 : size))...));
    }(std::make_integer_sequence<int, size>{});
  }
  template <int First>
  static RELPOS_INLINE pack of_neighbouring_fours(pack a, pack b) {
    return [&]<int... I>(std::integer_sequence<int, I...>) RELPOS_LAMBDA {
      return pack(__builtin_shufflevector(a.v, b.v, (I / 4 * 8 + First * 4 + I % 4)...));
    }(std::make_integer_sequence<int, size>{});
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
