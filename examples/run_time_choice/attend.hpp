#pragma once
// A function that is compiled once for each instruction set. Its parameters are plain types: those
// of relpos differ between instruction sets, so that a linker keeps their code apart.

#include <cstdint>

/// Causal attention with ALiBi over contiguous sequences [heads, length, channels]. A query is at
/// the position of its key.
struct attend_call {
  const float* q;
  const float* k;
  const float* v;
  const float* slopes;  // [heads]
  float* out;
  std::int64_t heads;
  std::int64_t length;
  std::int64_t channels;
};

/// Throws std::invalid_argument if the call is refused.
using attend_function = void(const attend_call& call);

attend_function attend_baseline;  // every processor that the compiler's own choice allows
attend_function attend_avx2;      // AVX2, FMA, F16C
attend_function attend_avx512;    // the same and AVX-512 F, BW, VL, DQ, CD
