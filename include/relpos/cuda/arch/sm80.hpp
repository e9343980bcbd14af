#pragma once
// The architecture of compute capability 8.0 and later, in PTX.

#include "relpos/core/index.hpp"
#include "relpos/cuda/arch/arch.hpp"

#if RELPOS_COMPILES_CUDA

namespace relpos::inline RELPOS_ABI {

struct sm80 {
  static __device__ int thread() { return static_cast<int>(threadIdx.x); }
  static __device__ std::byte* shared() {
    extern __shared__ __align__(16) std::byte block_memory[];
    return block_memory;
  }
  static __device__ void sync() { __syncthreads(); }
  static __device__ bool sync_any(bool condition) { return __syncthreads_or(condition) != 0; }
  static __device__ void sync_warp() { __syncwarp(); }
  static __device__ float shuffle_xor(float x, int mask) {
    return __shfl_xor_sync(0xffffffffu, x, mask);
  }
  static __device__ index_t shuffle_xor(index_t x, int mask) {
    return __shfl_xor_sync(0xffffffffu, static_cast<long long>(x), mask);
  }
  static __device__ bool any(bool condition) { return __any_sync(0xffffffffu, condition) != 0; }
  static __device__ float exp2(float x) {
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
    return result;
  }
  static __device__ float tanh(float x) { return ::tanhf(x); }
  static __device__ float sqrt(float x) { return ::sqrtf(x); }

  static __device__ void copy(void* destination, const void* source, bool exists) {
    const int bytes = exists ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address(destination)),
                 "l"(source), "r"(bytes)
                 : "memory");
  }
  static __device__ void commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
  template <int Pending>
  static __device__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
  }

  template <multiplied T>
  static __device__ fragment<T> load(const T* row) {
    fragment<T> result;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result.part[0].bits), "=r"(result.part[1].bits), "=r"(result.part[2].bits),
                   "=r"(result.part[3].bits)
                 : "r"(address(row))
                 : "memory");
    return result;
  }
  template <multiplied T>
  static __device__ fragment<T> load_transposed(const T* row) {
    fragment<T> result;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result.part[0].bits), "=r"(result.part[1].bits), "=r"(result.part[2].bits),
                   "=r"(result.part[3].bits)
                 : "r"(address(row))
                 : "memory");
    return result;
  }
  static __device__ void multiply_add(float (&c)[4], const fragment<half>& a, packed<half> b0,
                                      packed<half> b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.part[0].bits), "r"(a.part[1].bits), "r"(a.part[2].bits), "r"(a.part[3].bits),
          "r"(b0.bits), "r"(b1.bits));
  }
  static __device__ void multiply_add(float (&c)[4], const fragment<bfloat16>& a,
                                      packed<bfloat16> b0, packed<bfloat16> b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.part[0].bits), "r"(a.part[1].bits), "r"(a.part[2].bits), "r"(a.part[3].bits),
          "r"(b0.bits), "r"(b1.bits));
  }
  static __device__ void multiply_add(float (&c)[4], const fragment<tf32>& a, packed<tf32> b0,
                                      packed<tf32> b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.part[0].bits), "r"(a.part[1].bits), "r"(a.part[2].bits), "r"(a.part[3].bits),
          "r"(b0.bits), "r"(b1.bits));
  }
  /// Rounded to nearest, ties to even.
  static __device__ void round(float first, float second, packed<half>& result) {
    asm("cvt.rn.f16x2.f32 %0, %2, %1;" : "=r"(result.bits) : "f"(first), "f"(second));
  }
  static __device__ void round(float first, float second, packed<bfloat16>& result) {
    asm("cvt.rn.bf16x2.f32 %0, %2, %1;" : "=r"(result.bits) : "f"(first), "f"(second));
  }
  /// Rounded to nearest, ties away from zero.
  static __device__ packed<tf32> round_to_tf32(float x) {
    packed<tf32> result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result.bits) : "f"(x));
    return result;
  }
  static __device__ float to_float(half x) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x.bits));
    return result;
  }
  static __device__ float to_float(bfloat16 x) {
    return __uint_as_float(static_cast<unsigned>(x.bits) << 16);
  }

 private:
  static __device__ std::uint32_t address(const void* pointer) {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
