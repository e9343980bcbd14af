#pragma once
// Compiler facts, in the one place that may ask for them.
//
// Everything in relpos lives in `namespace relpos::inline RELPOS_ABI`, whose name follows the
// instruction set that the translation unit is compiled for. Two translation units with different
// -m flags in one program therefore share no function: the linker cannot hand the AVX-512 body of
// an inline function to code that was compiled, and may have to run, without AVX-512.

#if __cplusplus < 202002L
#error "relpos needs C++20"
#endif

// Empty rows, masked keys and overflowed scores are told apart by infinities and by exact zeros.
// A compiler that assumes they do not exist would return wrong numbers without a word.
#if defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__
#error "relpos cannot keep its promises under -ffast-math or -ffinite-math-only: build without it"
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define RELPOS_HAS_AVX512 1
#define RELPOS_ABI avx512_abi
#else
#define RELPOS_HAS_AVX512 0
#endif

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define RELPOS_HAS_AVX2 1
#ifndef RELPOS_ABI
#define RELPOS_ABI avx2_abi
#endif
#else
#define RELPOS_HAS_AVX2 0
#endif

#ifndef RELPOS_ABI
#define RELPOS_ABI generic_abi
#endif

// The kernels are built from functions of a few instructions, whose operands must stay in
// registers: a call between them would cost more than their work.
#if defined(__GNUC__)
#define RELPOS_INLINE inline __attribute__((always_inline))
#define RELPOS_LAMBDA __attribute__((always_inline))
#define RELPOS_NOINLINE __attribute__((noinline))
#define RELPOS_MAY_ALIAS __attribute__((may_alias))
#define RELPOS_HAS_VECTOR_EXTENSIONS 1
#else
#define RELPOS_INLINE inline
#define RELPOS_LAMBDA
#define RELPOS_NOINLINE
#define RELPOS_MAY_ALIAS
#define RELPOS_HAS_VECTOR_EXTENSIONS 0
#endif
