#pragma once
// Products of bfloat16 numbers, in pairs, summed in float32: what AVX512_BF16 computes.
//
//   fma(a, b, sum) = a.first b.first + (a.second b.second + sum)
//
// Each of the two sums is rounded once, to nearest, ties to even. A subnormal number, operand or
// sum, counts as a zero of its sign. The instruction does so in every mode of the floating-point
// unit; the plain arrays that define it, in its default mode.

#include <bit>
#include <cstdint>

#include "relpos/core/storage.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::inline RELPOS_ABI {

struct RELPOS_MAY_ALIAS bfloat16_pair {
  bfloat16 first;
  bfloat16 second;
};

/// The operations on pairs, on words that hold the first number in their lower half. Defined for
/// instruction sets that multiply pairs, and for plain arrays, which define them:
///
///   dot(sum, a, b)          fma, lane by lane
///   round(first, second)    the pair of each lane. NaN stays NaN; a subnormal number becomes zero
///   round_neighbours(x, y)  the pairs of neighbouring lanes of x, then of y, rounded likewise
///   join(first, second)     the pairs of the numbers of two arrays
template <class Isa>
struct pair_ops;

template <int N, bool HasMatrixUnit>
struct pair_ops<generic<N, HasMatrixUnit>> {
  using isa = generic<N, HasMatrixUnit>;
  using floats = pack<float, isa>;
  using words = pack<std::uint32_t, isa>;

  static constexpr float without_subnormals(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    return (bits & 0x7f800000u) != 0 ? x : std::bit_cast<float>(bits & 0x80000000u);
  }
  static float add_product(std::uint32_t a, std::uint32_t b, float sum) {
    const auto number = [](std::uint32_t bits) {
      return without_subnormals(std::bit_cast<float>(bits << 16));
    };
    return without_subnormals(__builtin_fmaf(number(a), number(b), without_subnormals(sum)));
  }
  static std::uint32_t word(bfloat16 first, bfloat16 second) {
    return first.bits | static_cast<std::uint32_t>(second.bits) << 16;
  }
  static bfloat16 round(float x) { return bfloat16(without_subnormals(x)); }

  static floats dot(floats sum, words a, words b) {
    return floats::each([&](int i) {
      const float second = add_product(a.lane[i] >> 16, b.lane[i] >> 16, sum.lane[i]);
      return add_product(a.lane[i] & 0xffffu, b.lane[i] & 0xffffu, second);
    });
  }
  static words round(floats first, floats second) {
    return words::each([&](int i) { return word(round(first.lane[i]), round(second.lane[i])); });
  }
  static words round_neighbours(floats x, floats y) {
    return words::each([&](int i) {
      const float* const source = 2 * i < N ? x.lane + 2 * i : y.lane + (2 * i - N);
      return word(round(source[0]), round(source[1]));
    });
  }
  static words join(const bfloat16* first, const bfloat16* second) {
    return words::each([&](int i) { return word(first[i], second[i]); });
  }
};

}  // namespace relpos::inline RELPOS_ABI
