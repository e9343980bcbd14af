// The prefill kernel as a fraction of the float32 multiply-add peak of one core, and the time that
// each encoding adds to the same call without it.

#include <cmath>
#include <string>
#include <vector>

#include "candidate.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"
#include "without_bound.hpp"

namespace relpos::bench {
namespace {

/// The size of a call, with enough heads to time it.
struct size {
  index_t heads, length, head_dim;
};

double visible_scores(const std::string& mask, index_t length) {
  const auto n = static_cast<double>(length);
  return mask == "full" ? n * n : n * (n + 1.0) / 2.0;
}

/// Times the candidates in turns and compares the others with the first.
void time_and_report(const size& of, const std::vector<candidate>& candidates, const effort& how,
                     report& to) {
  const timed_turns timed = take_turns(candidates, how.turns);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const candidate& each = candidates[i];
    const double flops =
        4.0 * static_cast<double>(of.heads * of.head_dim) * visible_scores(each.mask, of.length);
    measurement found{.head_dim = of.head_dim,
                      .length = of.length,
                      .encoding = each.encoding,
                      .setting = each.mask,
                      .workspace_bytes = each.workspace_bytes};
    // The fraction counts all visible scores. Under ALiBi some of them need no work.
    if (each.encoding != "alibi") {
      found.fraction_of_peak = flops / timed.seconds[i] / timed.peak_rate;
    }
    if (each.mask == "full") {
      found.speedup["causal"] = timed.seconds[0] / timed.seconds[i];
    } else if (i > 0) {
      found.extra_time_percent = 100.0 * (timed.seconds[i] / timed.seconds[0] - 1.0);
    } else if (candidates.back().mask == "full") {
      found.speedup["full"] = timed.seconds.back() / timed.seconds[0];
    }
    to.add(found);
  }
}

void every_encoding(const size& of, const effort& how, report& to) {
  tensors t(of.heads, of.length, of.head_dim);
  const std::vector<float> slopes = alibi_slopes(of.heads);
  std::vector<float> table(static_cast<std::size_t>(32 * of.heads));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = std::sin(static_cast<float>(i));
  const float scale = 1.0f / std::sqrt(static_cast<float>(of.head_dim));

  using layout = pair_layout;
  const rotary_table rope(rope_frequencies(of.head_dim), layout::half_split);
  const rotary_table pairs(rope_frequencies(of.head_dim), layout::interleaved);
  const rotary_table xpos(xpos_frequencies(of.head_dim), layout::half_split);

  // Positions that restart every 300 tokens, as in packed documents.
  std::vector<index_t> positions(static_cast<std::size_t>(of.length));
  for (std::size_t row = 0; row < positions.size(); ++row) {
    positions[row] = static_cast<index_t>(row % 300);
  }
  const view<const index_t, 2> restarting(positions.data(), {1, of.length});
  const token_positions each_token{restarting, restarting};

  const causal mask;
  const alibi linear{slopes};
  const t5_bias t5{table, unidirectional};
  const relative_bias logarithmic{[&slopes](index_t head, index_t distance) {
    const double slope = slopes[static_cast<std::size_t>(head)];
    return -slope * std::log1p(std::abs(static_cast<double>(distance)));
  }};
  time_and_report(
      of,
      {
          verified("none", "causal", t, {}, mask),
          verified("alibi, no tile left out", "causal", t, {}, mask, without_bound{linear}),
          verified("alibi", "causal", t, {}, mask, linear),
          verified("t5", "causal", t, {.scale = scale}, mask, t5),
          verified("relative_bias (log)", "causal", t, {}, mask, logarithmic),
          verified("rope", "causal", t, {}, mask, rotary{rope}),
          verified("rope, interleaved", "causal", t, {}, mask, rotary{pairs}),
          verified("xpos", "causal", t, {}, mask, rotary{xpos}),
          verified("rope, token positions", "causal", t, {}, mask, rotary{rope}, each_token),
          verified("t5, token positions", "causal", t, {.scale = scale}, mask, t5, each_token),
          verified("none, entropy", "causal", t, {.statistics = {.entropy = t.statistics.entropy}},
                   mask),
          verified("none, all statistics", "causal", t, {.statistics = t.statistics}, mask),
          verified("none, temperature 0.8", "causal", t, {}, mask, temperature{0.8}),
          verified("none, softcap 50", "causal", t, {.softcap = 50.0f}, mask),
          verified("none", "full", t, {}),
      },
      how, to);
}

void without_encoding(const size& of, const effort& how, report& to) {
  tensors t(of.heads, of.length, of.head_dim);
  time_and_report(
      of, {verified("none", "causal", t, {}, causal()), verified("none", "full", t, {})}, how, to);
}

}  // namespace

void encodings(const effort& how, report& to) {
  to.begin(std::string("one core, ") + native::name);
  for (const index_t head_dim : {64, 128}) {
    every_encoding({8, 512, head_dim}, {4 * how.turns, how.quick}, to);
    every_encoding({8, 2048, head_dim}, how, to);
    without_encoding({1, 8192, head_dim}, how, to);
  }
}

}  // namespace relpos::bench
