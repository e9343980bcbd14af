#pragma once
// Rows are appended to a cache in chunks and one by one; attention over it is the reference over
// all of them, as they are stored.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "kv_cache/caches.hpp"
#include "kv_cache/stored_rows.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace support {

inline const std::vector<float> slopes_of_four{0.3f, 0.05f, 0.004f, 0.0f};

/// The largest error of a logit whose key was rounded after its rotation, against the exact key: by
/// Cauchy and Schwarz, the error of the key times the norm of the query. Half a step of 16 bits is a part `u`
/// of each channel, of int8 1 / 254 of the largest. `growth` is what a decaying rotation may add to
/// a key, over the 512 positions of a block.
template <class Stored>
double logit_error(const inputs<float>& in, double growth) {
  if (std::is_same_v<Stored, float>) return 0.0;
  const auto largest_norm = [](const tensor<float>& of) {
    double result = 0.0;
    const auto channels = static_cast<std::size_t>(of.shape[3]);
    for (std::size_t row = 0; row < of.values.size(); row += channels) {
      double sum = 0.0;
      for (std::size_t c = 0; c < channels; ++c) {
        sum += std::pow(static_cast<double>(of.values[row + c]), 2);
      }
      result = std::max(result, std::sqrt(sum));
    }
    return result;
  };
  const auto channels = static_cast<double>(in.q.shape[3]);
  if constexpr (std::is_same_v<Stored, relpos::int8>) {
    // The query's norm, sqrt(d) steps' halves, 1 / sqrt(d); a rotated channel is at most sqrt(2).
    return largest_norm(in.q) * std::sqrt(2.0) * growth / 254.0;
  } else {
    const double u = storage_rounding<Stored>();
    const double of_sizes = u * largest_norm(in.q) * largest_norm(in.k) / std::sqrt(channels);
    if (sizeof(Stored) > 1) return of_sizes;
    // Below the least normal number, half a step is 2^-10 of a largest number above 2^7, or less.
    return of_sizes + largest_norm(in.q) * std::sqrt(2.0) * growth * 0x1p-17;
  }
}

/// `score_error` may change each weight by e^(2 score_error), of values below 1.
template <class... Policies>
void expect_over(const attended<float>& got, relpos::view<const float, 4> q, const tensor<float>& k,
                 const tensor<float>& v, index_t keys, double score_error,
                 const Policies&... policies) {
  std::vector<double> out, lse;
  std::vector<float> naive_out, naive_lse;
  const auto key_rows = k.view().slice(2, 0, keys);
  const auto value_rows = v.view().slice(2, 0, keys);
  run_reference(out, lse, q, key_rows, value_rows, {}, policies...);
  run_reference(naive_out, naive_lse, q, key_rows, value_rows, {}, policies...);
  expect_close(got.out.values, out, float_tolerance(out, naive_out) + std::expm1(2.0 * score_error),
               "out");
  expect_close(got.lse.values, lse, float_tolerance(lse, naive_lse, true) + score_error, "lse");
}

struct case_of_lengths {
  index_t length, head_dim, value_dim;
};

// Around tiles of 128 keys and chunks of 1024; channels that are and are not whole vectors.
inline constexpr std::array<case_of_lengths, 7> cases_of_lengths{{{1, 64, 64},
                                                                  {127, 24, 11},
                                                                  {128, 7, 5},
                                                                  {129, 64, 24},
                                                                  {1023, 7, 16},
                                                                  {1025, 24, 7},
                                                                  {2100, 16, 3}}};

/// Two chunks, then tokens one by one; a few queries of each. `growth`: see logit_error, 0
/// without a rotation.
template <class Own, class Make, class... Policies>
void expect_prefill_and_decode(const case_of_lengths& of, const Make& make, double growth,
                               const Policies&... policies) {
  using stored_type = typename Own::stored;
  SCOPED_TRACE(testing::Message() << of.length << " rows of " << of.head_dim << " channels");
  const sizes shape{.batch = 1,
                    .query_heads = 4,
                    .key_heads = 2,
                    .query_length = of.length,
                    .key_length = of.length,
                    .head_dim = of.head_dim,
                    .value_dim = of.value_dim};
  const inputs<float> in = random_inputs(shape, static_cast<std::uint32_t>(of.length));
  Own to = make(cache_sizes{.batch = 1,
                            .key_heads = 2,
                            .rows = of.length,
                            .head_dim = of.head_dim,
                            .value_dim = of.value_dim});
  const bool rotates = growth > 0.0;
  const tensor<float> k = rotates ? in.k : stored<stored_type>(in.k);
  const tensor<float> v = stored<stored_type>(in.v);
  const double score_error = rotates ? logit_error<stored_type>(in, growth) : 0.0;
  index_t first = 0;
  for (const index_t last : {of.length * 2 / 3, of.length - 1, of.length}) {
    if (last <= first) continue;
    SCOPED_TRACE(last);
    append_rows(to, in, first, last, policies...);
    // More than 16 rows that share a key head are no decoding.
    const index_t count = std::min<index_t>(last - first, 9);
    const auto q = in.q.view().slice(2, last - count, count);
    expect_over(attend_cache(to.cache(), q, {}, policies...), q, k, v, last, score_error,
                policies...);
    first = last;
  }
}

template <class Own, class Make>
void expect_policies(const Make& make) {
  for (const case_of_lengths& each : cases_of_lengths) {
    expect_prefill_and_decode<Own>(each, make, 0.0, relpos::alibi{slopes_of_four},
                                   relpos::causal{});
    for (const auto layout : {relpos::pair_layout::half_split, relpos::pair_layout::interleaved}) {
      SCOPED_TRACE(layout == relpos::pair_layout::interleaved ? "interleaved" : "half split");
      const index_t even = each.head_dim / 2 * 2;  // a last channel is not rotated
      const relpos::rotary_table rope(relpos::rope_frequencies(even), layout);
      const relpos::rotary_table xpos(relpos::xpos_frequencies(even), layout);
      expect_prefill_and_decode<Own>(each, make, 1.0, relpos::rotary{rope}, relpos::causal{});
      if (each.length > 200) continue;  // the reference raises powers for each pair of each score
      // XPOS: pair i decays by (2i / d + 0.4) / 1.4 over 512 positions, at most 1.4 / 0.4.
      expect_prefill_and_decode<Own>(each, make, 3.5, relpos::rotary{xpos}, relpos::causal{});
    }
  }
}

}  // namespace support
