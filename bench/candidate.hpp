#pragma once
// A call that was verified against the float64 reference and may be timed.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "relpos/views.hpp"
#include "tensors.hpp"

namespace relpos::bench {

[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

/// Restricts a policy to one query row of a call.
template <class Policy>
Policy of_row(const Policy& policy, index_t) {
  return policy;
}
inline additive_bias of_row(additive_bias policy, index_t row) {
  policy.matrix = policy.matrix.slice(2, row, 1);
  return policy;
}
inline mixed_bias of_row(mixed_bias policy, index_t row) {
  policy.coefficients = policy.coefficients.slice(2, row, 1);
  return policy;
}
inline token_positions of_row(token_positions policy, index_t row) {
  policy.queries = policy.queries.slice(2, row, 1);
  return policy;
}

/// The largest difference between `out` and the float64 reference, over some rows of every head of
/// one sequence; infinite if one is not finite. `q` has the rows from `query_offset` on.
template <class... Policies>
double error_of_sequence(index_t sequence, const view<const float, 4>& out,
                         const view<const float, 4>& q, const view<const float, 4>& k,
                         const view<const float, 4>& v, options opts, const Policies&... policies) {
  double largest = 0.0;
  const index_t offset = opts.query_offset.value_or(k.shape[2] - q.shape[2]);
  const auto rows_of = [&](const view<const float, 4>& all) { return all.slice(0, sequence, 1); };
  const std::array<index_t, 4> shape{1, q.shape[1], 1, v.shape[3]};
  std::vector<double> data(static_cast<std::size_t>(shape[1] * shape[3]));
  const view<double, 4> expected(data.data(), shape);
  for (index_t row = q.shape[2] - 1; row >= 0; row -= q.shape[2] / 3 + 1) {
    opts.query_offset = offset + row;
    opts.statistics = {};
    const status done = reference_attention(expected, {}, rows_of(q.slice(2, row, 1)), rows_of(k),
                                            rows_of(v), of_row(policies, row)..., opts);
    if (!done) fail(done.message);
    for (index_t head = 0; head < shape[1]; ++head) {
      for (index_t c = 0; c < shape[3]; ++c) {
        const double difference = std::abs(out(sequence, head, row, c) - expected(0, head, 0, c));
        if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
        largest = std::max(largest, difference);
      }
    }
  }
  return largest;
}

/// The same of the first and the last sequence.
template <class... Policies>
double largest_error(const view<const float, 4>& out, const view<const float, 4>& q,
                     const view<const float, 4>& k, const view<const float, 4>& v,
                     const options& opts, const Policies&... policies) {
  const double first = error_of_sequence(0, out, q, k, v, opts, policies...);
  if (q.shape[0] == 1) return first;
  return std::max(first, error_of_sequence(q.shape[0] - 1, out, q, k, v, opts, policies...));
}

inline void check_error(const std::string& what, double error, double allowed = 1e-5) {
  if (!(error < allowed)) fail(what + ": error " + std::to_string(error) + " against float64");
}

struct candidate {
  std::string encoding;
  std::string mask;
  std::function<void()> run;
  std::size_t workspace_bytes;
};

/// A call with these policies, run once and verified.
template <executor Executor, class... Policies>
candidate verified_on(const Executor& runner, const char* encoding, const char* mask, tensors& t,
                      const options& opts, const Policies&... policies) {
  std::vector<std::byte> memory(relpos::workspace_bytes(runner, t.q, t.k, t.v, policies...));
  const std::size_t bytes = memory.size();
  auto run = [&t, runner, opts, memory = std::move(memory), ... policies = policies]() mutable {
    const status done = attention(runner, memory, t.out, t.q, t.k, t.v, opts, policies...);
    if (!done) fail(done.message);
  };
  t.forget_outputs();
  run();
  check_error(encoding, largest_error(t.out, t.q, t.k, t.v, opts, policies...));
  return {encoding, mask, std::move(run), bytes};
}

template <class... Policies>
candidate verified(const char* encoding, const char* mask, tensors& t, const options& opts,
                   const Policies&... policies) {
  return verified_on(serial(), encoding, mask, t, opts, policies...);
}

}  // namespace relpos::bench
