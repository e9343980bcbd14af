// The prefill kernel as a fraction of the float32 multiply-add peak of one core, and what each encoding adds
// to the same call without it. Every candidate is verified against the float64 reference before it is timed.
//
//   relpos_bench_prefill [turns]

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "fma_peak.hpp"
#include "interleaved.hpp"
#include "relpos/views.hpp"

namespace {

using relpos::index;
using relpos::view;

[[noreturn]] void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

/// q, k, v and out [1, heads, length, head_dim] of unit-normal values.
struct tensors {
  tensors(index heads, index length, index head_dim) {
    std::mt19937 generator(7);
    std::normal_distribution<float> normal;
    const auto count = static_cast<std::size_t>(heads * length * head_dim);
    for (std::vector<float>* each : {&q_data, &k_data, &v_data, &out_data}) {
      each->resize(count);
      for (float& x : *each) x = normal(generator);
    }
    const std::array<index, 4> shape{1, heads, length, head_dim};
    q = {q_data.data(), shape};
    k = {k_data.data(), shape};
    v = {v_data.data(), shape};
    out = {out_data.data(), shape};
    const auto rows = [&](std::vector<float>& of) {
      of.resize(static_cast<std::size_t>(heads * length));
      return view<float, 3>(of.data(), {1, heads, length});
    };
    statistics = {rows(row_data[0]), rows(row_data[1]), rows(row_data[2]), rows(row_data[3]),
                  rows(row_data[4])};
  }

  std::vector<float> q_data, k_data, v_data, out_data;
  view<const float, 4> q, k, v;
  view<float, 4> out;
  std::array<std::vector<float>, 5> row_data;
  relpos::row_statistics statistics;
};

/// ALiBi that keeps its bound to itself, so that no tile is skipped: the cost of the bias alone.
struct alibi_without_skipping {
  relpos::alibi policy;

  struct head_bias {
    relpos::alibi::head_bias head;
    template <class Real>
    Real bias(Real distance) const {
      return head.bias(distance);
    }
    head_bias scaled(float factor) const { return {head.scaled(factor)}; }
  };
  head_bias bind(index head) const { return {policy.bind(head)}; }
};

/// A policy for one query row of a call.
template <class Policy>
Policy of_row(const Policy& policy, index) {
  return policy;
}
relpos::token_positions of_row(relpos::token_positions policy, index row) {
  policy.queries = policy.queries.slice(2, row, 1);
  return policy;
}

/// The largest difference between `out` and the float64 reference, over some rows of every head.
template <class... Policies>
double largest_error(const tensors& t, relpos::options choice, const Policies&... policies) {
  double largest = 0.0;
  const std::array<index, 4> rows{1, t.q.shape[1], 1, t.q.shape[3]};
  std::vector<double> data(static_cast<std::size_t>(rows[1] * rows[3]));
  const view<double, 4> expected(data.data(), rows);
  for (index row = t.q.shape[2] - 1; row >= 0; row -= t.q.shape[2] / 3 + 1) {
    const view<const float, 4> query(&t.q(0, 0, row, 0), rows, t.q.strides);
    choice.query_offset = row;
    choice.statistics = {};
    const relpos::status done = relpos::reference_attention(expected, {}, query, t.k, t.v,
                                                            of_row(policies, row)..., choice);
    if (!done) fail(done.message);
    for (index head = 0; head < rows[1]; ++head) {
      for (index c = 0; c < rows[3]; ++c) {
        const double difference = std::abs(t.out(0, head, row, c) - expected(0, head, 0, c));
        if (!(difference <= largest)) largest = difference;
      }
    }
  }
  return largest;
}

struct candidate {
  std::string name;
  std::function<void()> run;
  std::size_t scratch_bytes;
};

/// A call with these policies, run once and verified.
template <class... Policies>
candidate verified(const char* name, tensors& t, const relpos::options& choice,
                   const Policies&... policies) {
  std::vector<std::byte> memory(
      relpos::scratch_bytes(relpos::serial(), t.q, t.k, t.v, policies...));
  const std::size_t bytes = memory.size();
  auto run = [&t, choice, memory = std::move(memory), ... policies = policies]() mutable {
    const relpos::status done =
        relpos::attention(relpos::serial(), memory, t.out, t.q, t.k, t.v, choice, policies...);
    if (!done) fail(done.message);
  };
  run();
  const double error = largest_error(t, choice, policies...);
  if (!(error < 1e-5)) fail(std::string(name) + ": error " + std::to_string(error));
  return {name, std::move(run), bytes};
}

void compare(index heads, index length, index head_dim, int turns) {
  tensors t(heads, length, head_dim);
  const std::vector<float> slopes = relpos::alibi_slopes(heads);
  std::vector<float> table(static_cast<std::size_t>(32 * heads));
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = std::sin(static_cast<float>(i));
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim));

  using layout = relpos::pair_layout;
  const relpos::rotary_table rope(relpos::rope_frequencies(head_dim), layout::half_split);
  const relpos::rotary_table pairs(relpos::rope_frequencies(head_dim), layout::interleaved);
  const relpos::rotary_table xpos(relpos::xpos_frequencies(head_dim), layout::half_split);

  // As in packed documents of 300 tokens.
  std::vector<index> positions(static_cast<std::size_t>(length));
  for (std::size_t row = 0; row < positions.size(); ++row) {
    positions[row] = static_cast<index>(row % 300);
  }
  const view<const index, 2> restarting(positions.data(), {1, length});
  const relpos::token_positions each_token{restarting, restarting};

  const relpos::causal mask;
  const relpos::alibi alibi{slopes};
  const relpos::t5_bias t5{table, relpos::unidirectional};
  const relpos::relative_bias logarithmic{[&slopes](index head, index distance) {
    const double slope = slopes[static_cast<std::size_t>(head)];
    return -slope * std::log1p(std::abs(static_cast<double>(distance)));
  }};
  const std::vector<candidate> candidates = {
      verified("causal", t, {}, mask),
      verified("causal, alibi, no skipping", t, {}, mask, alibi_without_skipping{alibi}),
      verified("causal, alibi", t, {}, mask, alibi),
      verified("causal, t5", t, {.scale = scale}, mask, t5),
      verified("causal, relative_bias (log)", t, {}, mask, logarithmic),
      verified("causal, rope, half-split", t, {}, mask, relpos::rotary{rope}),
      verified("causal, rope, interleaved", t, {}, mask, relpos::rotary{pairs}),
      verified("causal, xpos", t, {}, mask, relpos::rotary{xpos}),
      verified("causal, rope, token positions", t, {}, mask, relpos::rotary{rope}, each_token),
      verified("causal, t5, token positions", t, {.scale = scale}, mask, t5, each_token),
      verified("causal, entropy", t, {.statistics = {.entropy = t.statistics.entropy}}, mask),
      verified("causal, all statistics", t, {.statistics = t.statistics}, mask),
      verified("causal, temperature 0.8", t, {}, mask, relpos::temperature{0.8}),
      verified("causal, softcap 50", t, {.softcap = 50.0f}, mask),
      verified("full", t, {}),
  };

  using peak = relpos::bench::fma_peak<relpos::native>;
  std::vector<std::function<void()>> turn_takers = {[] {
    volatile float keep = peak::run();
    (void)keep;
  }};
  for (const candidate& each : candidates) turn_takers.push_back(each.run);
  const std::vector<double> seconds = relpos::bench::interleaved_seconds(turn_takers, turns);
  const double peak_rate = peak::flops / seconds[0];

  std::printf("\nhead_dim %lld, length %lld, %lld heads, one core, %d lanes, %.0f GFLOP/s peak\n",
              static_cast<long long>(head_dim), static_cast<long long>(length),
              static_cast<long long>(heads), relpos::lanes<relpos::native>, peak_rate / 1e9);
  std::printf("%-30s %10s %10s %10s\n", "", "of peak", "extra", "scratch");
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const auto n = static_cast<double>(length);
    const double scores = candidates[i].name == "full" ? n * n : n * (n + 1.0) / 2.0;
    const double flops = 4.0 * static_cast<double>(heads * head_dim) * scores;
    std::printf("%-30s %9.1f%% %+9.1f%% %6zu KiB\n", candidates[i].name.c_str(),
                100.0 * flops / seconds[i + 1] / peak_rate,
                100.0 * (seconds[i + 1] / seconds[1] - 1.0), candidates[i].scratch_bytes / 1024);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int turns = argc > 1 ? std::atoi(argv[1]) : 20;
  if (turns < 1) fail("usage: relpos_bench_prefill [turns]");
  for (const index head_dim : {64, 128}) {
    for (const index length : {512, 2048}) compare(8, length, head_dim, turns);
  }
  return 0;
}
