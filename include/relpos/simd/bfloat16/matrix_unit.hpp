#pragma once
// A unit of the processor that multiplies matrices of pairs of bfloat16 numbers, as AMX does:
//
//   sums[i][j] += first + second          0 <= i, j, k < 16
//   first  = sum over k of a[i][k].first  b[k][j].first
//   second = sum over k of a[i][k].second b[k][j].second
//
// Both sums start from zero and go on with k. Each of their products and each of the two additions
// is rounded once, to nearest, ties to even, in every mode of the floating-point unit. A subnormal
// number counts as a zero of its sign. (Intel 64 and IA-32 Architectures Software Developer's
// Manual, volume 2, TDPBF16PS.)

#include <bit>
#include <cstdint>

#include "relpos/core/index.hpp"
#include "relpos/core/status.hpp"
#include "relpos/simd/bfloat16/pair_ops.hpp"

namespace relpos::inline RELPOS_ABI {

/// The unit, ready for the thread that holds the object: construction configures it, destruction
/// releases it. The sums are of up to three vectors of columns, 16 columns each. `First` and `Last`
/// say which: [First, Last).
///
///   rows, depth                        16, the lanes of a vector: rows of a, and its pairs in each
///   permission()                       success, or why the system withholds the unit
///   clear<First, Last>()               sums = 0
///   multiply<First, Last>(a, a_stride, b, b_stride)
///                                      adds the product of a, 16 rows of 16 pairs, and b, 16 rows
///                                      of pairs. Vector v has the columns from 16 v on. Strides
///                                      are of rows, in pairs
///   store<First, Last>(out, stride)    writes the sums, 16 rows of floats, at the same columns
///
/// Defined for instruction sets that have a unit, and for plain arrays, which define it.
template <class Isa>
class matrix_unit;

template <class Isa>
concept has_matrix_unit = requires { sizeof(matrix_unit<Isa>); };

template <>
class matrix_unit<generic<16, true>> {
 public:
  static constexpr int rows = 16;
  static constexpr int depth = 16;  // pairs

  static status permission() { return {}; }

  template <int First, int Last>
  void clear() {
    for (int v = First; v < Last; ++v) {
      for (auto& row : sums_[v]) {
        for (float& sum : row) sum = 0.0f;
      }
    }
  }

  template <int First, int Last>
  void multiply(const bfloat16_pair* a, index_t a_stride, const bfloat16_pair* b,
                index_t b_stride) {
    for (int v = First; v < Last; ++v) {
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) {
          float first = 0.0f;
          float second = 0.0f;
          for (int k = 0; k < depth; ++k) {
            const auto x = std::bit_cast<std::uint32_t>(a[i * a_stride + k]);
            const auto y = std::bit_cast<std::uint32_t>(b[k * b_stride + v * columns + j]);
            first = ops::add_product(x & 0xffffu, y & 0xffffu, first);
            second = ops::add_product(x >> 16, y >> 16, second);
          }
          float& sum = sums_[v][i][j];
          sum = ops::without_subnormals(sum + ops::without_subnormals(first + second));
        }
      }
    }
  }

  template <int First, int Last>
  void store(float* out, index_t stride) const {
    for (int v = First; v < Last; ++v) {
      for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < columns; ++j) out[i * stride + v * columns + j] = sums_[v][i][j];
      }
    }
  }

 private:
  using ops = pair_ops<generic<16, true>>;
  static constexpr int columns = 16;

  float sums_[3][rows][columns];
};

}  // namespace relpos::inline RELPOS_ABI
