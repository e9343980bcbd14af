// One program for all processors: it picks the best of the instruction sets that the processor has.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "run_time_choice/attend.hpp"

namespace {

struct choice {
  const char* instruction_set;
  attend_function* attend;
};

choice best_choice() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512cd")) {
    return {"AVX-512", attend_avx512};
  }
  // Every processor with AVX2 has F16C, which clang 14 cannot be asked about.
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {"AVX2", attend_avx2};
#endif
  return {"the compiler's own choice", attend_baseline};
}

}  // namespace

int main() {
  constexpr int heads = 8, length = 500, channels = 64;
  const auto waves = [](double frequency) {
    std::vector<float> result(heads * length * channels);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = static_cast<float>(std::sin(frequency * static_cast<double>(i)));
    }
    return result;
  };
  const std::vector<float> q = waves(0.53), k = waves(0.71), v = waves(1.3);
  std::vector<float> slopes(heads), out(q.size()), expected(q.size());
  for (int h = 0; h < heads; ++h) slopes[static_cast<std::size_t>(h)] = std::ldexp(1.0f, -1 - h);

  attend_call call{q.data(),   k.data(), v.data(), slopes.data(),
                   out.data(), heads,    length,   channels};
  const choice best = best_choice();
  best.attend(call);

  call.out = expected.data();
  attend_baseline(call);
  float difference = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    difference = std::max(difference, std::abs(out[i] - expected[i]));
  }
  std::printf("instruction set: %s; differs from the baseline by %s 1e-5\n", best.instruction_set,
              difference < 1e-5f ? "less than" : "more than");
  return difference < 1e-5f ? 0 : 1;
}
