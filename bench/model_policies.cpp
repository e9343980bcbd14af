// Recent models add to attention: biases that a query mixes, forget gates, keys that a model
// selects, channels that do not rotate.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "candidate.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"

namespace relpos::bench {
namespace {

std::vector<float> random_floats(index_t count, float spread) {
  std::mt19937 generator(11);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& each : result) each = normal(generator);
  return result;
}

/// Times the candidates in turns and reports the time that each adds to the first.
void report_extra(const tensors& t, const std::vector<candidate>& candidates, const effort& how,
                  report& to) {
  const timed_turns timed = take_turns(candidates, how.turns);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    measurement found{.head_dim = t.q.shape[3],
                      .length = t.q.shape[2],
                      .encoding = candidates[i].encoding,
                      .setting = candidates[i].mask,
                      .workspace_bytes = candidates[i].workspace_bytes};
    if (i > 0) found.extra_time_percent = 100.0 * (timed.seconds[i] / timed.seconds[0] - 1.0);
    to.add(found);
  }
}

/// Tables of normal numbers for distances from `first` on, shared by all heads.
struct mixture {
  std::vector<float> coefficients, tables;
  mixed_bias policy;

  mixture(index_t heads, index_t length, index_t terms, index_t first, index_t distances)
      : coefficients(random_floats(heads * length * terms, 0.1f)),
        tables(random_floats(terms * distances, 1.0f)),
        policy(view<const float, 4>(coefficients.data(), {1, heads, length, terms}),
               view<const float, 3>(tables.data(), {1, terms, distances}), first) {}
};

void biases(const effort& how, report& to) {
  constexpr index_t heads = 8;
  constexpr index_t length = 2048;
  tensors t(heads, length, 128);
  const mixture inkling(heads, length, 16, -1023, 1024);
  const mixture all_distances(heads, length, 16, 1 - length, length);
  const std::vector<float> numbers = random_floats(heads * length, 1.0f);
  const std::vector<double> equal(static_cast<std::size_t>(heads * length), 0.0);
  const causal mask;
  report_extra(
      t,
      {verified("none", "causal", t, {}, mask),
       verified("mixed_bias, 16 terms, 1024 distances", "causal", t, {}, mask, inkling.policy),
       verified("mixed_bias, 16 terms", "causal", t, {}, mask, all_distances.policy),
       verified("key_bias", "causal", t, {}, mask,
                key_bias{view<const float, 3>(numbers.data(), {1, heads, length})}),
       verified("cumulative_bias, no tile left out", "causal", t, {}, mask,
                cumulative_bias{view<const double, 3>(equal.data(), {1, heads, length})}),
       verified("softcap_after_bias", "causal", t, {}, mask, softcap_after_bias{50.0f})},
      how, to);
}

/// Shaw's relative keys, and the same numbers as a matrix, whose making is not counted.
void as_many_terms_as_channels(const effort& how, report& to) {
  constexpr index_t heads = 8;
  constexpr index_t length = 2048;
  constexpr index_t terms = 64;
  tensors t(heads, length, terms);
  const mixture shaw(heads, length, terms, 1 - length, length);
  std::vector<float> matrix(static_cast<std::size_t>(heads * length * length));
  for (index_t row = 0; row < heads * length; ++row) {
    const float* const of_row = &shaw.coefficients[static_cast<std::size_t>(row * terms)];
    for (index_t key = 0; key <= row % length; ++key) {
      const index_t place = key - row % length + length - 1;
      double sum = 0.0;
      for (index_t term = 0; term < terms; ++term) {
        sum += static_cast<double>(of_row[term]) *
               static_cast<double>(shaw.tables[static_cast<std::size_t>(term * length + place)]);
      }
      matrix[static_cast<std::size_t>(row * length + key)] = static_cast<float>(sum);
    }
  }
  report_extra(
      t,
      {verified("none", "causal", t, {}, causal()),
       verified("mixed_bias, 64 terms", "causal", t, {}, causal(), shaw.policy),
       verified("additive_bias", "causal", t, {}, causal(),
                additive_bias{view<const float, 4>(matrix.data(), {1, heads, length, length})})},
      how, to);
}

/// Latent attention: 64 of 512 channels rotate.
void rotated_channels_of_many(const effort& how, report& to) {
  tensors t(8, how.quick ? 512 : 2048, 512);
  const rotary_table some(rope_frequencies(64), pair_layout::interleaved);
  const rotary_table all(rope_frequencies(512), pair_layout::interleaved);
  report_extra(
      t,
      {verified("none", "causal", t, {}, causal()),
       verified("rope, the last 64 channels", "causal", t, {}, causal(), rotary{some, 512 - 64}),
       verified("rope, all channels", "causal", t, {}, causal(), rotary{all})},
      how, to);
}

/// Gates whose mean is 0.99. Weights below e^-87 are zero, so a row needs 9000 of its keys.
void forget_gates(const effort& how, report& to) {
  const index_t length = how.quick ? 4096 : 16384;
  tensors t(1, length, 128);
  std::mt19937 generator(5);
  std::uniform_real_distribution<double> gate(0.98, 1.0);
  const std::vector<double> equal(static_cast<std::size_t>(length), 0.0);
  std::vector<double> sums(static_cast<std::size_t>(length));
  double sum = 0.0;
  for (double& each : sums) each = sum += std::log(gate(generator));
  const cumulative_bias none{view<const double, 3>(equal.data(), {1, 1, length})};
  const cumulative_bias decaying{view<const double, 3>(sums.data(), {1, 1, length})};
  const std::vector<candidate> candidates = {
      verified("cumulative_bias, no tile left out", "causal", t, {}, causal(), none),
      verified("cumulative_bias, gates of mean 0.99", "causal", t, {}, causal(), decaying),
      verified("cumulative_bias, tolerance 1e-7", "causal", t, {.tolerance = 1e-7f}, causal(),
               decaying)};
  const timed_turns timed = take_turns(candidates, std::min(how.turns, 5));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    measurement found{.head_dim = 128,
                      .length = length,
                      .encoding = candidates[i].encoding,
                      .setting = candidates[i].mask,
                      .workspace_bytes = candidates[i].workspace_bytes};
    if (i > 0) found.speedup["no_tile_left_out"] = timed.seconds[0] / timed.seconds[i];
    to.add(found);
  }
}

/// 2048 keys of 32768, in blocks of `block`, ascending.
std::vector<std::int32_t> selection(index_t block) {
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(32768 / block));
  std::iota(blocks.begin(), blocks.end(), 0);
  std::mt19937 generator(3);
  std::shuffle(blocks.begin(), blocks.end(), generator);
  blocks.resize(static_cast<std::size_t>(2048 / block));
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

template <class... Policies>
candidate verified_step(const char* encoding, tensors& t, const Policies&... policies) {
  const index_t last = t.q.shape[2] - 1;
  const view<const float, 4> q = t.q.slice(2, last, 1);
  const view<float, 4> out = t.out.slice(2, last, 1);
  std::vector<std::byte> memory(workspace_bytes(serial(), q, t.k, t.v, policies...));
  const std::size_t bytes = memory.size();
  auto run = [&t, q, out, memory = std::move(memory), ... policies = policies]() mutable {
    const status done = attention(serial(), memory, out, q, t.k, t.v, policies...);
    if (!done) fail(done.message);
  };
  t.forget_outputs();
  run();
  check_error(encoding, largest_error(out, q, t.k, t.v, {}, policies...));
  return {encoding, "one query", std::move(run), bytes};
}

void selected(const effort& how, report& to) {
  tensors t(8, 32768, 128);
  const std::vector<std::int32_t> one = selection(1);
  const std::vector<std::int32_t> blocks = selection(64);
  const auto policy = [](const std::vector<std::int32_t>& list, index_t block) {
    const auto size = static_cast<index_t>(list.size());
    return selected_keys{view<const std::int32_t, 4>(list.data(), {1, 1, 1, size}), block};
  };
  const std::vector<candidate> candidates = {
      verified_step("all keys", t), verified_step("2048 selected keys", t, policy(one, 1)),
      verified_step("2048 selected keys, blocks of 64", t, policy(blocks, 64))};
  const timed_turns timed = take_turns(candidates, how.turns);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    measurement found{.head_dim = 128,
                      .length = 32768,
                      .encoding = candidates[i].encoding,
                      .setting = candidates[i].mask,
                      .workspace_bytes = candidates[i].workspace_bytes};
    if (i > 0) found.speedup["all_keys"] = timed.seconds[0] / timed.seconds[i];
    to.add(found);
  }
}

}  // namespace

void model_policies(const effort& how, report& to) {
  to.begin("policies of recent models, one core");
  biases(how, to);
  as_many_terms_as_channels(how, to);
  rotated_channels_of_many(how, to);
  forget_gates(how, to);
  selected(how, to);
}

}  // namespace relpos::bench
