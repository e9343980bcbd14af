#pragma once
// Facts about the compiler and its flags. Only this header tests the compiler's own macros.

#include "relpos/version.hpp"

#if __cplusplus < 202002L
#error "relpos needs C++20"
#endif
#if !defined(__GNUC__)
#error "relpos needs the vector extensions of GCC or clang"
#endif

// Infinities and exact zeros distinguish empty rows, masked keys and overflowed scores, and exp2
// and the sums over keys depend on the order of additions. Code from a compiler that ignores either
// would return wrong numbers without a warning. (clang defines no macro for -fassociative-math
// alone.)
#if (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__ASSOCIATIVE_MATH__)
#error "relpos needs infinities, NaN and the order of sums: build without -ffast-math and its parts"
#endif

// nvcc compiles the code of GPU kernels for the device; other compilers compile it for the CPU, for
// tests. Functions that code of the host and of the device calls, such as members of policies, are
// constexpr, which is enough under nvcc's --expt-relaxed-constexpr; those that cannot be constexpr
// are marked RELPOS_HOST_DEVICE.
#if defined(__CUDACC__)
#define RELPOS_COMPILES_CUDA 1
#define RELPOS_DEVICE __device__ __forceinline__
#define RELPOS_HOST_DEVICE __host__ __device__
#else
#define RELPOS_COMPILES_CUDA 0
#define RELPOS_DEVICE inline
#define RELPOS_HOST_DEVICE
#endif

/// Whether vector types can be used. nvcc does not pass their shuffles on to the host compiler, so
/// a .cu file computes on plain arrays on the CPU.
#define RELPOS_HAS_VECTORS (!RELPOS_COMPILES_CUDA)

#if RELPOS_HAS_VECTORS && defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define RELPOS_HAS_AVX2 1
#else
#define RELPOS_HAS_AVX2 0
#endif

#if RELPOS_HAS_AVX2 && defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && \
    defined(__AVX512VL__)
#define RELPOS_HAS_AVX512 1
#else
#define RELPOS_HAS_AVX512 0
#endif

#if RELPOS_HAS_VECTORS && defined(__aarch64__) && defined(__ARM_NEON)
#define RELPOS_HAS_NEON 1
#else
#define RELPOS_HAS_NEON 0
#endif

/// Whether one instruction looks up 64 bytes in a table of 128.
#if RELPOS_HAS_AVX512 && defined(__AVX512VBMI__)
#define RELPOS_HAS_AVX512_VBMI 1
#else
#define RELPOS_HAS_AVX512_VBMI 0
#endif

/// Whether one instruction multiplies pairs of bfloat16 numbers.
#if RELPOS_HAS_AVX512 && defined(__AVX512BF16__)
#define RELPOS_HAS_AVX512_BF16 1
#define RELPOS_WITH_BFLOAT16_PRODUCTS(...) __VA_ARGS__
#else
#define RELPOS_HAS_AVX512_BF16 0
#define RELPOS_WITH_BFLOAT16_PRODUCTS(...)
#endif

/// Whether instructions multiply matrices of bfloat16 numbers. A process has to ask its system for
/// them, and relpos knows how to ask Linux.
// (clang 14 has other names for the two macros.)
#if RELPOS_HAS_AVX512_BF16 && (defined(__AMX_TILE__) || defined(__AMXTILE__)) && \
    (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__x86_64__) && defined(__linux__)
#define RELPOS_HAS_AMX_BF16 1
#else
#define RELPOS_HAS_AMX_BF16 0
#endif

/// Whether one instruction multiplies and adds. 0 for a GPU, whose compiler already uses that
/// instruction for a * b + c.
#if !defined(__CUDA_ARCH__) && (defined(__FP_FAST_FMAF) || defined(__FMA__))
#define RELPOS_HAS_FMA 1
#else
#define RELPOS_HAS_FMA 0
#endif

// Everything in relpos lives in `namespace relpos::inline RELPOS_ABI`, whose name follows the
// instruction set that the translation unit is compiled for. Two translation units with different
// -m flags in one program therefore share no function: the linker cannot hand the AVX-512 body of
// an inline function to code that was compiled, and may have to run, without AVX-512.
//
// The name also covers the extensions that compilers use without intrinsics. Examples: generic_abi,
// generic_avx_fma_abi, avx512_bmi2_bf16_amx_abi.
#if !RELPOS_HAS_VECTORS
#define RELPOS_ABI_SET arrays
#elif RELPOS_HAS_AVX512
#define RELPOS_ABI_SET avx512
#elif RELPOS_HAS_AVX2
#define RELPOS_ABI_SET avx2
#elif RELPOS_HAS_NEON
#define RELPOS_ABI_SET neon
#else
#define RELPOS_ABI_SET generic
#endif

#if !RELPOS_HAS_AVX512 && defined(__AVX512F__)
#define RELPOS_ABI_VECTORS _avx512f
#elif !RELPOS_HAS_AVX2 && defined(__AVX2__)
#define RELPOS_ABI_VECTORS _avx2
#elif !RELPOS_HAS_AVX2 && defined(__AVX__)
#define RELPOS_ABI_VECTORS _avx
#elif !RELPOS_HAS_AVX2 && defined(__SSE4_1__)
#define RELPOS_ABI_VECTORS _sse4
#elif !RELPOS_HAS_AVX2 && defined(__SSE3__)
#define RELPOS_ABI_VECTORS _sse3
#else
#define RELPOS_ABI_VECTORS
#endif

#if !RELPOS_HAS_AVX2 && defined(__FMA__)
#define RELPOS_ABI_FMA _fma
#else
#define RELPOS_ABI_FMA
#endif

#if defined(__BMI2__)
#define RELPOS_ABI_BITS _bmi2
#else
#define RELPOS_ABI_BITS
#endif

#if defined(__AVX512VBMI__)
#define RELPOS_ABI_PERMUTE _vbmi
#else
#define RELPOS_ABI_PERMUTE
#endif

#if RELPOS_HAS_AMX_BF16
#define RELPOS_ABI_PAIRS _bf16_amx
#elif RELPOS_HAS_AVX512_BF16
#define RELPOS_ABI_PAIRS _bf16
#else
#define RELPOS_ABI_PAIRS
#endif

#define RELPOS_ABI_PASTE(set, vectors, fma, bits, permute, pairs) \
  set##vectors##fma##bits##permute##pairs##_abi
#define RELPOS_ABI_NAME(set, vectors, fma, bits, permute, pairs) \
  RELPOS_ABI_PASTE(set, vectors, fma, bits, permute, pairs)
#define RELPOS_ABI                                                                     \
  RELPOS_ABI_NAME(RELPOS_ABI_SET, RELPOS_ABI_VECTORS, RELPOS_ABI_FMA, RELPOS_ABI_BITS, \
                  RELPOS_ABI_PERMUTE, RELPOS_ABI_PAIRS)

// 1 if the program links relpos::kernels compiled for these flags: the CMake target defines one
// macro for each set of flags.
#define RELPOS_KERNELS_PASTE(abi) RELPOS_KERNELS_##abi
#define RELPOS_KERNELS_OF(abi) RELPOS_KERNELS_PASTE(abi)
#define RELPOS_LINKS_KERNELS RELPOS_KERNELS_OF(RELPOS_ABI)
#if RELPOS_LINKS_KERNELS
#define RELPOS_WITH_LINKED_KERNELS(...) __VA_ARGS__
#else
#define RELPOS_WITH_LINKED_KERNELS(...)
#endif

// The kernels are built from functions of a few instructions, whose operands must stay in
// registers: a call between them would cost more than their work.
#define RELPOS_INLINE inline __attribute__((always_inline))
#define RELPOS_LAMBDA __attribute__((always_inline))
#define RELPOS_NOINLINE __attribute__((noinline))
/// For functions that make refusals: the compiler treats a branch to them as unlikely and moves it
/// off the main path.
#define RELPOS_COLD __attribute__((cold, noinline))
/// A compiler barrier: values loaded before it are loaded again after it if they are needed. With
/// few registers that is cheaper than the stack, where compilers would keep the values.
#define RELPOS_FORGET_MEMORY() asm volatile("" ::: "memory")
/// Unrolls the CPU loop that follows completely, so that the accumulators that it indexes are
/// registers. The type must fix the number of iterations. For bodies that need the index as a
/// constant, and for GPUs, see core/unroll.hpp.
// nvcc passes the pragma on to the host compiler, and warns that nvcc does not know it.
#if defined(__NVCC__)
#define RELPOS_UNROLL                                                                     \
  _Pragma("nv_diagnostic push") _Pragma("nv_diag_suppress 1675") _Pragma("GCC unroll 64") \
      _Pragma("nv_diagnostic pop")
#else
#define RELPOS_UNROLL _Pragma("GCC unroll 64")
#endif
#define RELPOS_MAY_ALIAS __attribute__((may_alias))
