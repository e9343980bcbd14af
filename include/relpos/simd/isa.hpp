#pragma once
// Instruction sets are types. `native` is the best one that the translation unit's flags allow; a
// kernel takes it as a template argument, so that tests can build any of them anywhere.
//
// Each set says
//
//   vector_bytes             the width of a vector
//   registers                how many of them a loop may hold
//   tile_rows, tile_vectors  the register tile of the two products of prefill: that many broadcast values times
//                            that many vectors of queries, all accumulators in registers

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// Plain arrays of N lanes: what a pack means, for testing the code of wide vectors on a machine
/// that lacks them. 16 lanes have the registers of AVX-512, so that tests run the code that AVX-512
/// takes.
template <int N>
struct generic {
  static constexpr const char* name = "generic";
  static constexpr int vector_bytes = 4 * N;
  static constexpr int registers = N == 16 ? 32 : 16;
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 2;
};

/// 16-byte vectors of GCC and clang, with no instruction set named: SSE2 on x86-64, NEON on ARM.
struct vector128 {
  static constexpr const char* name = "128-bit vectors";
  static constexpr int vector_bytes = 16;
  static constexpr int registers = 16;  // the fewest of its targets, SSE2's
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 3;
};

/// 12 accumulators, 3 queries and 1 broadcast fill the registers.
struct avx2 {
  static constexpr const char* name = "AVX2";
  static constexpr int vector_bytes = 32;
  static constexpr int registers = 16;
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 3;
};

/// 24 accumulators hide the latency of 2 x 4 multiply-adds three times over.
struct avx512 {
  static constexpr const char* name = "AVX-512";
  static constexpr int vector_bytes = 64;
  static constexpr int registers = 32;
  static constexpr int tile_rows = 8;
  static constexpr int tile_vectors = 3;
};

#if RELPOS_HAS_AVX512
using native = avx512;
#elif RELPOS_HAS_AVX2
using native = avx2;
#elif RELPOS_HAS_VECTORS
using native = vector128;
#else
using native = generic<4>;
#endif

/// What the vector extensions of compilers cannot say, or say badly: fma, max, min, conversions of
/// 16 and 8 bits. Of plain arrays there is none.
template <class Isa>
struct vector_ops;

/// Number of float lanes.
template <class Isa>
inline constexpr int lanes = Isa::vector_bytes / 4;

}  // namespace relpos::inline RELPOS_ABI
