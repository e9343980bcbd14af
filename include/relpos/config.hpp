#pragma once
// Compiler facts, in the one place that may ask for them.

#if __cplusplus < 202002L
#error "relpos needs C++20"
#endif
#if !defined(__GNUC__)
#error "relpos needs the vector extensions of GCC or clang"
#endif

// Empty rows, masked keys and overflowed scores are told apart by infinities and by exact zeros,
// and exp2 and the sums over keys depend on the order of additions. A compiler that ignores either
// would return wrong numbers without a word. (clang does not tell of -fassociative-math given
// alone.)
#if (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(__ASSOCIATIVE_MATH__)
#error "relpos cannot keep its promises under -ffast-math or a part of it: build without"
#endif

// The code of GPU kernels is for the device where nvcc compiles it, and for tests on the CPU where
// others do. Functions for both, such as members of policies that run in kernels, are constexpr,
// which nvcc compiles for both under --expt-relaxed-constexpr, or say so where they cannot be.
#if defined(__CUDACC__)
#define RELPOS_COMPILES_CUDA 1
#define RELPOS_DEVICE __device__ __forceinline__
#define RELPOS_HOST_DEVICE __host__ __device__
#else
#define RELPOS_COMPILES_CUDA 0
#define RELPOS_DEVICE inline
#define RELPOS_HOST_DEVICE
#endif

/// Vector types: nvcc does not pass shuffles of them on to the host's compiler. What a .cu file
/// computes on the CPU, it computes on plain arrays.
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

/// Whether one instruction multiplies and adds. Not told of a GPU, whose compiler takes it for a *
/// b + c.
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
// The name tells apart what compilers emit unasked: generic_abi, generic_avx_fma_abi,
// avx512_bmi2_abi.
#if !RELPOS_HAS_VECTORS
#define RELPOS_ABI_SET arrays
#elif RELPOS_HAS_AVX512
#define RELPOS_ABI_SET avx512
#elif RELPOS_HAS_AVX2
#define RELPOS_ABI_SET avx2
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

#define RELPOS_ABI_PASTE(set, vectors, fma, bits, permute) set##vectors##fma##bits##permute##_abi
#define RELPOS_ABI_NAME(set, vectors, fma, bits, permute) \
  RELPOS_ABI_PASTE(set, vectors, fma, bits, permute)
#define RELPOS_ABI                                                                     \
  RELPOS_ABI_NAME(RELPOS_ABI_SET, RELPOS_ABI_VECTORS, RELPOS_ABI_FMA, RELPOS_ABI_BITS, \
                  RELPOS_ABI_PERMUTE)

// 1 where the program links relpos::kernels, compiled for these flags: the library defines one name
// for each set of flags.
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
/// For functions that make refusals: the compiler takes a branch to them as unlikely, and moves it
/// out of the way.
#define RELPOS_COLD __attribute__((cold, noinline))
/// What was loaded before is loaded again after, if it is needed: where registers are scarce that
/// is cheaper than the stack, on which compilers would keep it.
#define RELPOS_FORGET_MEMORY() asm volatile("" ::: "memory")
/// Before a loop of the CPU with a number of iterations that the type knows: each is code of its
/// own, and the accumulators that it indexes are registers. Where the body needs the index as a
/// constant, and for GPUs: core/unroll.hpp.
// nvcc passes the pragma on to the host's compiler, and warns that it does not know it.
#if defined(__NVCC__)
#define RELPOS_UNROLL                                                                     \
  _Pragma("nv_diagnostic push") _Pragma("nv_diag_suppress 1675") _Pragma("GCC unroll 64") \
      _Pragma("nv_diagnostic pop")
#else
#define RELPOS_UNROLL _Pragma("GCC unroll 64")
#endif
#define RELPOS_MAY_ALIAS __attribute__((may_alias))
