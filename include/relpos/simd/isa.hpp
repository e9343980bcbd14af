#pragma once
// The instruction sets, one type each. `native` is the best one that the translation unit's flags
// allow. A kernel takes the type as a template argument, so that tests can build any set anywhere.
//
// Each type defines
//
//   vector_bytes             the width of a vector
//   registers                the number of vector registers that a loop may use
//   tile_rows, tile_vectors  the register tile of the two products of prefill: tile_rows broadcast
//                            values times tile_vectors vectors of queries, with all accumulators
//                            in registers

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// Plain arrays of N lanes. They define the meaning of a pack, and tests run the code of wide
/// vectors with them on a machine that lacks such vectors. With 16 lanes `registers` is the number
/// of AVX-512, so that tests run the code that AVX-512 takes. `HasMatrixUnit`: with the matrix unit
/// of simd/bfloat16/matrix_unit.hpp.
template <int N, bool HasMatrixUnit = false>
struct generic {
  static constexpr const char* name = "generic";
  static constexpr int vector_bytes = 4 * N;
  static constexpr int registers = N == 16 ? 32 : 16;
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 2;
};

/// 16-byte vectors of GCC and clang, without intrinsics: SSE2 on x86-64.
struct vector128 {
  static constexpr const char* name = "128-bit vectors";
  static constexpr int vector_bytes = 16;
  static constexpr int registers = 16;  // SSE2's, the fewest of its targets
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 3;
};

/// 12 accumulators, 3 vectors of queries and 1 broadcast value fill the 16 registers.
struct avx2 {
  static constexpr const char* name = "AVX2";
  static constexpr int vector_bytes = 32;
  static constexpr int registers = 16;
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 3;
};

/// 24 accumulators are three times the 2 x 4 multiply-adds that hide the latency.
struct avx512 {
  static constexpr const char* name = "AVX-512";
  static constexpr int vector_bytes = 64;
  static constexpr int registers = 32;
  static constexpr int tile_rows = 8;
  static constexpr int tile_vectors = 3;
};

/// 64-bit Arm. 20 accumulators are two and a half times the 2 x 4 multiply-adds that hide the
/// latency of a core with two pipes. GCC 12 loads all broadcast values ahead and spills more
/// accumulators than 21; of the shapes that fit, this has the fewest loads and instructions.
struct neon {
  static constexpr const char* name = "NEON";
  static constexpr int vector_bytes = 16;
  static constexpr int registers = 32;
  static constexpr int tile_rows = 4;
  static constexpr int tile_vectors = 5;
};

#if RELPOS_HAS_AVX512
using native = avx512;
#elif RELPOS_HAS_AVX2
using native = avx2;
#elif RELPOS_HAS_NEON
using native = neon;
#elif RELPOS_HAS_VECTORS
using native = vector128;
#else
using native = generic<4>;
#endif

/// The operations that the vector extensions of compilers lack or compile badly. Required:
/// broadcast of float, int32 and uint32, fma, max, min, any, and load of bfloat16, half and int8.
/// Optional: floor, fraction together with scale_by_power, add_neighbours, broadcast of half, and
/// load of bytes as uint32 and of 8-bit floats. Plain arrays need none, and `generic` has no
/// specialization.
template <class Isa>
struct vector_ops;

/// Number of float lanes.
template <class Isa>
inline constexpr int lanes = Isa::vector_bytes / 4;

}  // namespace relpos::inline RELPOS_ABI
