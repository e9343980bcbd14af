// Runs a call of cpu/counted_calls.hpp once or several times, for an emulator that counts:
// counted_call NAME KEYS TIMES. Prints for which compiler, flags and instruction set it was built.

#include <cstdio>
#include <cstdlib>

#include "cpu/counted_calls.hpp"

int main(int count, char** words) {
  if (count != 4) return 2;
  const relpos::index_t keys = std::atoi(words[2]);
  const int times = std::atoi(words[3]);
  bool succeeds = true;
  counted::with_named(words[1], [&](relpos::index_t head_dim, const relpos::options& opts,
                                    const auto&... policies) {
    counted::with_call(
        {counted::queries, keys, head_dim}, opts,
        [&](const auto& call) {
          for (int i = 0; i < times; ++i) succeeds = static_cast<bool>(call()) && succeeds;
        },
        policies...);
  });
  std::printf("%s\n%d\n", counted::recorded_set().c_str(), static_cast<int>(counted::queries));
  return succeeds ? 0 : 1;
}
