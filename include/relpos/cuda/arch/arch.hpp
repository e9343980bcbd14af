#pragma once
// An architecture: the functions by which the code of a thread block uses the hardware. A kernel is
// a template over it: `sm80` is the GPU (arch/sm80.hpp), and tests run the same kernel on the CPU
// with an architecture that emulates the instructions by their definitions. The instructions, and
// the lane that holds each element of a fragment, follow the PTX ISA, sections on mma.m16n8k16,
// mma.m16n8k8, ldmatrix and cp.async.
//
// An architecture is one thread's view. All threads of a warp make the same calls in the same
// order, and all threads of a block the same calls of sync().
//
//   int thread()                              index in the block
//   std::byte* shared()                       the block's memory, aligned to 16 bytes
//   void sync()                               waits for all threads of the block
//   bool sync_any(bool condition)             sync(); returns whether it holds for any thread
//   void sync_warp()                          waits for all threads of the warp
//   float shuffle_xor(float x, int mask)      x of lane (own lane ^ mask); also for an index_t
//   bool any(bool condition)                  whether it holds in any lane of the warp
//   float exp2(float x)                       0 where the result would be subnormal
//   float tanh(float x)
//   float sqrt(float x)
//
//   void copy(void* shared, const void* source, bool exists)
//                                             16 bytes, asynchronously; zeros unless `exists`
//   void commit()                             ends a group of copies
//   void wait<Pending>()                      until all but the last `Pending` groups of this
//                                             thread have arrived
//
//   fragment<T> load(const T* row)            four matrices of 8 rows of 16 bytes: lane i names
//                                             row i % 8 of matrix i / 8, and receives from each
//                                             matrix 4 bytes of row i / 4, from byte 4 (i % 4) on
//   fragment<T> load_transposed(const T* row) the same for 16-bit numbers, transposed: lane i
//                                             receives elements (2 (i % 4), i / 4) and
//                                             (2 (i % 4) + 1, i / 4) of each 8 x 8 matrix
//   void multiply_add(float (&c)[4], const fragment<T>& a, packed<T> b0, packed<T> b1)
//                                             c [16 x 8] += a [16 x 16] b [16 x 8], 16-bit numbers
//                                             c [16 x 8] += a [16 x 8] b [8 x 8], tf32
//   void round(float first, float second, packed<T>& result)
//   packed<tf32> round_to_tf32(float x)
//   float to_float(half x)                    also for a bfloat16

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "relpos/core/storage.hpp"

namespace relpos::inline RELPOS_ABI {

inline constexpr int warp_lanes = 32;

/// Storage types of queries, keys and values.
template <class T>
concept multiplied = std::same_as<T, float> || std::same_as<T, half> || std::same_as<T, bfloat16>;

/// A float32 as tensor cores read it: 11 bits of significand, lower bits are ignored.
struct tf32;

/// A register: two 16-bit numbers, the first in the lower half, or one 32-bit number.
template <class T>
struct packed {
  std::uint32_t bits;
};

/// Four registers of a lane, one for each of four matrices.
template <class T>
struct fragment {
  packed<T> part[4];
};

/// The places of a lane's four elements in a 16 x 8 accumulator: element e is in row `row(e)`,
/// column `column(e)`.
struct accumulator_place {
  int lane;

  constexpr int row(int element) const { return lane / 4 + element / 2 * 8; }
  constexpr int column(int element) const { return lane % 4 * 2 + element % 2; }
};

}  // namespace relpos::inline RELPOS_ABI
