// Encoders and chat turns: full attention over batches of short sequences, as a fraction of the
// float32 multiply-add peak of one core.

#include <cmath>
#include <string>
#include <vector>

#include "candidate.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"

namespace relpos::bench {
namespace {

struct size {
  index_t batch, heads, length, head_dim;
};

// Text of 32 to 256 tokens, speech (Whisper), an image of patches.
constexpr size sizes[] = {{32, 12, 32, 64}, {32, 12, 64, 64},  {16, 12, 128, 64},
                          {8, 12, 256, 64}, {1, 20, 1500, 64}, {1, 6, 2040, 72}};

void each_encoding(const size& of, const effort& how, report& to) {
  tensors t(of.heads, of.length, of.head_dim, of.batch);
  const std::vector<float> slopes = alibi_slopes(of.heads);
  std::vector<float> table(static_cast<std::size_t>(32 * of.heads));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = std::sin(static_cast<float>(i));
  const float scale = 1.0f / std::sqrt(static_cast<float>(of.head_dim));
  const std::vector<candidate> candidates = {
      verified("none", "full", t, {}),
      verified("alibi_symmetric", "full", t, {}, alibi_symmetric{slopes}),
      verified("t5", "full", t, {.scale = scale}, t5_bias{table, bidirectional}),
  };
  const timed_turns timed = take_turns(candidates, how.turns);
  const auto scores = static_cast<double>(of.batch * of.heads * of.length * of.length);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    measurement found{.head_dim = of.head_dim,
                      .length = of.length,
                      .encoding = candidates[i].encoding,
                      .setting = std::to_string(of.batch) + " x " + std::to_string(of.heads),
                      .fraction_of_peak = 4.0 * static_cast<double>(of.head_dim) * scores /
                                          timed.seconds[i] / timed.peak_rate,
                      .workspace_bytes = candidates[i].workspace_bytes};
    if (i > 0) found.extra_time_percent = 100.0 * (timed.seconds[i] / timed.seconds[0] - 1.0);
    to.add(found);
  }
}

}  // namespace

void short_sequences(const effort& how, report& to) {
  to.begin("short sequences, full, one core", "batch x heads");
  for (const size& of : sizes) each_encoding(of, how, to);
}

}  // namespace relpos::bench
