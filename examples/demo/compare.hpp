#pragma once
// One line of the demo's table: relpos and the unfused code on the same input.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

#include "measure.hpp"
#include "text.hpp"
#include "unfused.hpp"

namespace demo {

struct comparison {
  pair_of_times seconds;  // relpos, unfused
  std::size_t relpos_bytes;
  std::size_t unfused_bytes;
  double relpos_error;  // largest difference from the float64 reference
  double unfused_error;
};

/// Query rows that are compared with the reference: all of a short text, else spread over it.
inline constexpr int sampled_rows = 64;

/// Largest difference of `out` from attention by definition in float64, over the sampled rows.
template <class... Policies>
double largest_error(const tensor& out, const projections& in, const Policies&... policies) {
  const auto length = static_cast<int>(out.dimension(2));
  const int rows = std::min(length, sampled_rows);
  const auto q = view_of(in.q);
  std::vector<double> expected(heads * head_dim);
  double largest = 0.0;
  for (int sample = 0; sample < rows; ++sample) {
    const int row = rows == 1 ? 0 : sample * (length - 1) / (rows - 1);
    const view<const float, 4> query(&q(0, 0, row, 0), {1, heads, 1, head_dim}, q.strides);
    const view<double, 4> exact(expected.data(), {1, heads, 1, head_dim});
    const status done = reference_attention(exact, {}, query, view_of(in.k), view_of(in.v),
                                            policies..., options{.query_offset = row});
    if (!done) throw std::runtime_error(done.message);
    for (int h = 0; h < heads; ++h) {
      for (int c = 0; c < head_dim; ++c) {
        const double difference =
            std::abs(static_cast<double>(out(0, h, row, c)) - exact(0, h, 0, c));
        if (!(difference <= largest)) largest = difference;  // keeps NaN
      }
    }
  }
  return largest;
}

template <class... Policies>
comparison compare(const projections& in, unfused_attention& unfused, const Policies&... policies) {
  const Eigen::DefaultDevice device;
  tensor out(in.q.dimensions());
  tensor unfused_out(in.q.dimensions());
  const auto run_relpos = [&] { attention(device, out, in.q, in.k, in.v, policies...); };
  const auto run_unfused = [&] { unfused(unfused_out, in); };

  run_relpos();
  run_unfused();
  comparison result{};
  result.relpos_error = largest_error(out, in, policies...);
  result.unfused_error = largest_error(unfused_out, in, policies...);
  if (!(result.relpos_error < 1e-4 && result.unfused_error < 1e-4)) {
    throw std::runtime_error("results differ from the float64 reference by " +
                             std::to_string(result.relpos_error) + " (relpos) and " +
                             std::to_string(result.unfused_error) + " (unfused)");
  }
  result.relpos_bytes = workspace_bytes(executor_of(device), view_of(in.q), view_of(in.k),
                                        view_of(in.v), policies...);
  result.unfused_bytes = unfused.bytes();
  result.seconds = time_in_turns(0.3, run_relpos, run_unfused);
  return result;
}

}  // namespace demo
