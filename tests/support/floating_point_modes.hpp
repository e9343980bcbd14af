#pragma once
// Modes that a process may set for its floating-point unit: MXCSR of x86, FPCR of Arm.

#include <cstdint>
#include <vector>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace support {

struct floating_point_mode {
  const char* name;
  std::uint64_t bits;
};

#if defined(__SSE2__)
/// Denormals are zero: 0x0040; flush to zero: 0x8000; rounding: 0x6000.
inline const std::vector<floating_point_mode> floating_point_modes{
    {"default", 0},          {"DAZ", 0x0040}, {"FTZ", 0x8000},         {"DAZ, FTZ", 0x8040},
    {"down", 0x2000},        {"up", 0x4000},  {"toward zero", 0x6000}, {"DAZ, FTZ, down", 0xa040},
    {"DAZ, FTZ, up", 0xc040}};
inline std::uint64_t read_floating_point_mode() { return _mm_getcsr(); }
inline void write_floating_point_mode(std::uint64_t mode) {
  _mm_setcsr(static_cast<unsigned>(mode));
}
#elif defined(__aarch64__)
/// Flush to zero, operands too: bit 24; rounding: bits 22 and 23.
inline const std::vector<floating_point_mode> floating_point_modes{
    {"default", 0},
    {"FZ", 1u << 24},
    {"up", 1u << 22},
    {"down", 2u << 22},
    {"toward zero", 3u << 22},
    {"FZ, up", 1u << 24 | 1u << 22},
    {"FZ, down", 1u << 24 | 2u << 22}};
inline std::uint64_t read_floating_point_mode() {
  std::uint64_t mode = 0;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
}
inline void write_floating_point_mode(std::uint64_t mode) {
  asm volatile("msr fpcr, %0" : : "r"(mode));
}
#else
inline const std::vector<floating_point_mode> floating_point_modes{{"default", 0}};
inline std::uint64_t read_floating_point_mode() { return 0; }
inline void write_floating_point_mode(std::uint64_t) {}
#endif

/// Calls f in a mode. Results that f leaves in memory are computed in it, from what it reads there.
template <class Function>
void in_mode(const floating_point_mode& mode, const Function& f) {
  const std::uint64_t before = read_floating_point_mode();
  write_floating_point_mode(before | mode.bits);
  asm volatile("" ::: "memory");
  f();
  asm volatile("" ::: "memory");
  write_floating_point_mode(before);
}

}  // namespace support
