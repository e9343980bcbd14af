#pragma once
// Temperatures that make attention over long inputs as sharp as it was at the training length, from
// statistics of the model's own queries and keys, measured in the fused pass: no attention matrix
// (after the idea of Chi, Fan, Rudnicky, arXiv 2311.00684, of which only the abstract was at hand:
// statistics, rows and solver are this library's; model/temperature_alignment.hpp).
//
// Solve layers in order: the input of a layer depends on the temperatures of the layers before it.
// These functions are tools, not steps of inference: they allocate.

//   std::vector<double> targets(heads);     // at the training length
//   relpos::measure_sharpness(runner, relpos::sharpness::entropy, targets, q, k, policies...);
//   std::vector<float> temperatures(heads); // at the longer one
//   relpos::align_temperatures(runner, relpos::sharpness::entropy, targets, temperatures, longer_q,
//                              longer_k, policies...);
//   relpos::attention(..., policies..., relpos::head_temperature{temperatures});

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/model/temperature_alignment.hpp"
#include "relpos/policy/temperature.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup alignment
/// @{

/// The statistic that is aligned: the mean over rows of ln(largest probability), or of the entropy.
enum class sharpness {
  max_probability,  ///< ln of the largest probability of a row
  entropy           ///< in nats
};

/// Measures the mean sharpness of attention over rows.
///
/// Writes the means of the statistic to `of_heads`, which has one element per query head, or one
/// for all heads together. A mean is over all batch entries and over the rows that see at least
/// half as many keys as the row that sees the most: all rows of bidirectional attention, the second
/// half of the rows of causal attention. It is NaN if there is no such row.
///
/// @snippet reference.cpp align
template <class Isa = native, executor Executor, class Query, class Key, class... Arguments>
status measure_sharpness(const Executor& runner, sharpness statistic, std::span<double> of_heads,
                         const view<Query, 4>& q, const view<Key, 4>& k,
                         const Arguments&... arguments) {
  static_assert(
      !is_team_member<Executor>,
      "relpos: a team shares workspace, but this function allocates its own: let one thread "
      "call it, with another executor");
  const auto heads = static_cast<std::size_t>(q.shape[1]);
  if (of_heads.size() != heads && of_heads.size() != 1) {
    return status::error(status_code::invalid_shape,
                         "of_heads: has %zu elements, must have 1, or %zu, one per query head",
                         of_heads.size(), heads);
  }
  const std::array<index_t, 3> rows{q.shape[0], q.shape[1], q.shape[2]};
  // The values have no channels: only the statistics are computed.
  const view<const float, 4> no_values(nullptr, {k.shape[0], k.shape[1], k.shape[2], 0});
  const view<float, 4> no_out(nullptr, {rows[0], rows[1], rows[2], 0});
  if (status valid = check_inputs(q, k, no_values); !valid) return valid;
  const auto count = static_cast<std::size_t>(rows[0] * rows[1] * rows[2]);
  std::vector<float> measured(count);
  std::vector<float> seen(count);
  options opts = options_of(arguments...);
  opts.lse.reset();
  opts.statistics = {};
  opts.statistics.logit_count = view<float, 3>(seen.data(), rows);
  const view<float, 3> out(measured.data(), rows);
  (statistic == sharpness::entropy ? opts.statistics.entropy : opts.statistics.max_probability) =
      out;

  const status done = std::apply(
      [&](const auto&... policies) {
        std::vector<std::byte> memory(
            workspace_bytes<Isa>(runner, q, k, no_values, policies..., opts));
        return attention<Isa>(runner, memory, no_out, q, k, no_values, policies..., opts);
      },
      policies_of(arguments...));
  if (!done) return done;

  std::vector<double> sums(of_heads.size());
  std::vector<double> counts(of_heads.size());
  const float largest_count = seen.empty() ? 0.0f : *std::max_element(seen.begin(), seen.end());
  for (std::size_t i = 0; i < count; ++i) {
    if (seen[i] == 0.0f || 2.0f * seen[i] < largest_count) continue;
    const std::size_t head = i / static_cast<std::size_t>(rows[2]) % heads % of_heads.size();
    const auto value = static_cast<double>(measured[i]);
    sums[head] += statistic == sharpness::entropy ? value : std::log(value);
    counts[head] += 1.0;
  }
  for (std::size_t i = 0; i < of_heads.size(); ++i) of_heads[i] = sums[i] / counts[i];
  return {};
}

/// Finds the temperatures at which these queries and keys are as sharp as given.
///
/// The means are `targets`, the temperatures from 1/64 to 1. A target that no temperature in this
/// range reaches gets the nearer end of the range. There is one target and temperature per query
/// head, or one for all heads together. The call measures at most 28 times.
template <class Isa = native, executor Executor, class Query, class Key, class... Arguments>
status align_temperatures(const Executor& runner, sharpness statistic,
                          std::span<const double> targets, std::span<float> temperatures,
                          const view<Query, 4>& q, const view<Key, 4>& k,
                          const Arguments&... arguments) {
  static_assert(!(is_temperature<Arguments> || ... || false),
                "relpos: align_temperatures finds the temperature: pass no temperature");
  if (targets.size() != temperatures.size()) {
    return status::error(status_code::invalid_shape,
                         "temperatures: has %zu elements, must have one per target, %zu",
                         temperatures.size(), targets.size());
  }
  for (std::size_t i = 0; i < targets.size(); ++i) {
    if (std::isfinite(targets[i])) continue;
    return status::error(status_code::invalid_value, "targets: has %g at %zu, must be finite",
                         targets[i], i);
  }
  std::vector<temperature_search> searches(targets.begin(), targets.end());
  const auto heads = static_cast<std::size_t>(q.shape[1]);
  std::vector<float> trial(heads);
  std::vector<double> means(targets.size());
  bool is_done = false;
  while (!is_done) {
    for (std::size_t head = 0; head < heads && !searches.empty(); ++head) {
      trial[head] = static_cast<float>(searches[head % searches.size()].ask());
    }
    const status done = measure_sharpness<Isa>(runner, statistic, means, q, k, arguments...,
                                               head_temperature{trial});
    if (!done) return done;
    is_done = true;
    for (std::size_t i = 0; i < searches.size(); ++i) {
      if (std::isnan(means[i])) {
        return status::error(
            status_code::invalid_value,
            "q, k: the sharpness of head %zu is NaN: no row sees a key, or a row holds "
            "NaN or infinity",
            i);
      }
      if (!searches[i].is_done()) searches[i].tell(means[i]);
      is_done = is_done && searches[i].is_done();
    }
  }
  for (std::size_t i = 0; i < searches.size(); ++i) {
    temperatures[i] = static_cast<float>(searches[i].ask());
  }
  return {};
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
