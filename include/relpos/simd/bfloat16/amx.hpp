#pragma once
// AMX: the matrix unit beside AVX-512.
//
// Tile registers 0 to 2 are sums, 3 is a, and 4 to 6 are b. They and their shape belong to the
// thread, and no function preserves them (System V ABI): a thread that computes with tiles of its
// own configures them again after a call.
//
// GCC 12's intrinsics are assembly that does not say which memory it reads, so that GCC may remove
// a store to it. Here each statement says that it reads and writes memory.

#include "relpos/simd/bfloat16/matrix_unit.hpp"

#if RELPOS_HAS_AMX_BF16

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace relpos::inline RELPOS_ABI {

template <>
class matrix_unit<avx512> {
 public:
  static constexpr int rows = 16;
  static constexpr int depth = 16;  // pairs

  /// Asks Linux for the tiles, for all threads of the process and for as long as it lives.
  static status permission() {
    constexpr long request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long tile_data = 18;               // XFEATURE_XTILEDATA
    if (syscall(SYS_arch_prctl, request_permission, tile_data) == 0) return {};
    return status::error(status_code::device,
                         "options.arithmetic: is bfloat16, in code compiled for AMX, which the "
                         "system does not let this process use (ARCH_REQ_XCOMP_PERM: errno %d); "
                         "code compiled without -mamx-tile does not need it",
                         errno);
  }

  matrix_unit() {
    static constexpr shape_of_tiles shape;
    asm volatile("ldtilecfg %0" ::"m"(shape) : "memory");
  }
  ~matrix_unit() { asm volatile("tilerelease" ::: "memory"); }
  matrix_unit(const matrix_unit&) = delete;
  matrix_unit& operator=(const matrix_unit&) = delete;

  template <int First, int Last>
  RELPOS_INLINE void clear() {
    if constexpr (First < Last) {
      asm volatile("{tilezero %%tmm%c0|tilezero tmm%c0}" ::"i"(First) : "memory");
      clear<First + 1, Last>();
    }
  }

  template <int First, int Last>
  RELPOS_INLINE void multiply(const bfloat16_pair* a, index_t a_stride, const bfloat16_pair* b,
                              index_t b_stride) {
    static_assert(Last <= of_a, "there are tiles for three vectors");
    load<of_a>(a, a_stride);
    add_products<First, Last>(b, b_stride);
  }

  template <int First, int Last>
  RELPOS_INLINE void store(float* out, index_t stride) const {
    if constexpr (First < Last) {
      asm volatile("{tilestored %%tmm%c2, (%0,%1,1)|tilestored [%0+%1*1], tmm%c2}" ::"r"(
                       out + First * columns),
                   "r"(stride * index_t{sizeof(float)}), "i"(First)
                   : "memory");
      store<First + 1, Last>(out, stride);
    }
  }

 private:
  static constexpr int columns = 16;
  static constexpr int of_a = 3;
  static constexpr int of_b = 4;

  /// The operand of LDTILECFG: every tile has 16 rows of 64 bytes.
  struct alignas(64) shape_of_tiles {
    std::uint8_t palette = 1;
    std::uint8_t first_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  };

  template <int Tile>
  static RELPOS_INLINE void load(const bfloat16_pair* source, index_t stride) {
    asm volatile("{tileloadd (%0,%1,1), %%tmm%c2|tileloadd tmm%c2, [%0+%1*1]}" ::"r"(source),
                 "r"(stride * index_t{sizeof(bfloat16_pair)}), "i"(Tile)
                 : "memory");
  }

  template <int First, int Last>
  static RELPOS_INLINE void add_products(const bfloat16_pair* b, index_t b_stride) {
    if constexpr (First < Last) {
      load<of_b + First>(b + First * columns, b_stride);
      asm volatile(
          "{tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0|tdpbf16ps tmm%c0, tmm%c1, tmm%c2}" ::"i"(First),
          "i"(of_a), "i"(of_b + First)
          : "memory");
      add_products<First + 1, Last>(b, b_stride);
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI

#endif
