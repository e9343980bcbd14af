// Calls that need not compute most of the matrix of scores: tiles that ALiBi makes vanish, and
// blocks that a mask hides.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "candidate.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"
#include "without_bound.hpp"

namespace relpos::bench {
namespace {

constexpr index_t head_dim = 64;

/// Query rows of a call in slices that are spread evenly. They stand for all rows, at a fraction of
/// the time.
struct sampled_rows {
  index_t slices, rows;  // of each

  index_t first(index_t slice, index_t length) const {
    return slice * (length / slices) + (length / slices - rows) / 2;
  }
};

template <class... Policies>
candidate verified_slices(const char* encoding, tensors& t, const sampled_rows& sample,
                          double allowed_error, const options& opts, const Policies&... policies) {
  const index_t length = t.q.shape[2];
  std::vector<std::byte> memory(
      workspace_bytes(serial(), t.q.slice(2, 0, sample.rows), t.k, t.v, policies...));
  const std::size_t bytes = memory.size();
  auto run = [&t, sample, length, opts = options(opts), memory = std::move(memory),
              ... policies = policies]() mutable {
    for (index_t slice = 0; slice < sample.slices; ++slice) {
      const index_t first = sample.first(slice, length);
      opts.query_offset = first;
      const status done = attention(serial(), memory, t.out.slice(2, first, sample.rows),
                                    t.q.slice(2, first, sample.rows), t.k, t.v, opts, policies...);
      if (!done) fail(done.message);
    }
  };
  t.forget_outputs();
  run();
  options of_slice = opts;
  for (const index_t slice : {index_t{0}, sample.slices - 1}) {
    const index_t first = sample.first(slice, length);
    of_slice.query_offset = first;
    check_error(encoding,
                largest_error(t.out.slice(2, first, sample.rows), t.q.slice(2, first, sample.rows),
                              t.k, t.v, of_slice, policies...),
                allowed_error);
  }
  return {encoding, "causal", std::move(run), bytes};
}

void far_tiles(index_t length, const sampled_rows& sample, const effort& how, report& to) {
  constexpr index_t heads = 8;
  constexpr double float_error = 1e-5;
  constexpr float tolerance = 1e-7f;
  tensors t(heads, length, head_dim);
  const std::vector<float> slopes = alibi_slopes(heads);
  const alibi linear{slopes};
  const causal mask;
  const std::vector<candidate> candidates = {
      verified_slices("alibi, no tile left out", t, sample, float_error, {}, mask,
                      without_bound{linear}),
      verified_slices("alibi", t, sample, float_error, {}, mask, linear),
      verified_slices("alibi, tolerance 1e-7", t, sample, float_error, {.tolerance = tolerance},
                      mask, linear),
      verified_slices("none", t, sample, float_error, {}, mask),
  };

  t.forget_outputs();
  candidates[0].run();
  const std::vector<float> all = t.out_data;
  t.forget_outputs();
  candidates[1].run();
  if (std::memcmp(all.data(), t.out_data.data(), all.size() * sizeof(float)) != 0) {
    fail("alibi: skipping far tiles changes the result");
  }
  candidates[2].run();
  double largest_value = 0.0;
  for (const float value : t.v_data) {
    largest_value = std::max(largest_value, static_cast<double>(std::abs(value)));
  }
  double largest = 0.0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (std::isnan(all[i])) continue;  // rows between the slices are not written
    const double difference = std::abs(t.out_data[i] - all[i]);
    if (!(difference <= largest)) largest = difference;
    if (std::isnan(difference)) break;
  }
  check_error("alibi, tolerance", largest, 2.0 * tolerance * largest_value + 0x1p-20);

  const timed_turns timed = take_turns(candidates, how.turns);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    measurement found{.head_dim = head_dim,
                      .length = length,
                      .encoding = candidates[i].encoding,
                      .setting = candidates[i].mask,
                      .workspace_bytes = candidates[i].workspace_bytes};
    if (i == 0) found.extra_time_percent = 100.0 * (timed.seconds[0] / timed.seconds[3] - 1.0);
    found.speedup["no_tile_left_out"] = timed.seconds[0] / timed.seconds[i];
    to.add(found);
  }
}

void blocks(const effort& how, report& to) {
  constexpr index_t length = 65536;
  constexpr index_t block = 1024;
  constexpr index_t later_blocks = length / block - 1;
  constexpr index_t causal_length = 8192;
  tensors of_blocks(1, length, head_dim);
  tensors of_causal(1, causal_length, head_dim);
  const std::vector<candidate> candidates = {
      verified("none", "causal", of_causal, {}, causal()),
      verified("none", "blockwise_causal 1024", of_blocks, {}, blockwise_causal{block}),
  };
  // A query sees its own block up to itself, and the block before it.
  const auto visible = [](index_t rows, index_t before) {
    return static_cast<double>(rows) * static_cast<double>(before) +
           0.5 * static_cast<double>(rows) * static_cast<double>(rows + 1);
  };
  const double scores[] = {
      visible(causal_length, 0),
      visible(block, 0) + static_cast<double>(later_blocks) * visible(block, block)};
  const timed_turns timed = take_turns(candidates, how.turns);
  double fraction[2];
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    fraction[i] = 4.0 * head_dim * scores[i] / timed.seconds[i] / timed.peak_rate;
    measurement found{.head_dim = head_dim,
                      .length = i == 0 ? causal_length : length,
                      .encoding = candidates[i].encoding,
                      .setting = candidates[i].mask,
                      .fraction_of_peak = fraction[i],
                      .workspace_bytes = candidates[i].workspace_bytes};
    if (i == 1) found.speedup["causal_per_visible_score"] = fraction[1] / fraction[0];
    to.add(found);
  }
}

}  // namespace

void long_sequences(const effort& how, report& to) {
  to.begin("long sequences, one core");
  const index_t whole = how.quick ? 3000 : 8192;
  far_tiles(whole, {1, whole}, how, to);
  far_tiles(how.quick ? 16384 : 65536, {4, how.quick ? 768 : 1536}, how, to);
  blocks(how, to);
}

}  // namespace relpos::bench
