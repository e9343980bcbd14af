#pragma once
// A loop of independent multiply-adds in registers: the peak of one core with the instruction set
// of this build, measured in turns with the calls that are compared with it.

#include "relpos/core/index.hpp"
#include "relpos/simd/pack.hpp"

namespace relpos::bench {

/// Enough accumulators to hide the latency of every multiply-add, and no more than 16 registers
/// hold.
template <class Isa>
struct fma_peak {
  static constexpr int accumulators = 12;
  static constexpr index_t rounds = 40000;
  static constexpr double flops = 2.0 * accumulators * lanes<Isa> * rounds;

  static RELPOS_NOINLINE float run() {
    using real = float_pack<Isa>;
    real sum[accumulators];
    RELPOS_UNROLL
    for (int i = 0; i < accumulators; ++i) sum[i] = real(static_cast<float>(i));
    const real factor(0.999f);
    const real term(0.001f);
    for (index_t round = 0; round < rounds; ++round) {
      RELPOS_UNROLL
      for (int i = 0; i < accumulators; ++i) sum[i] = fma(sum[i], factor, term);
    }
    RELPOS_UNROLL
    for (int i = 0; i < accumulators - 1; ++i) sum[0] = sum[0] + sum[i + 1];
    float lane[lanes<Isa>];
    sum[0].store(lane);
    return lane[0];
  }
};

}  // namespace relpos::bench
