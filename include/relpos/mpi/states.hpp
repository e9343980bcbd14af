#pragma once
// Memory of the states that a rank merges, the statistics of some of its rows, and the results.

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "relpos/call/options.hpp"
#include "relpos/call/row_statistics.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/view.hpp"
#include "relpos/merge.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

/// Memory for rows of results that own their elements.
struct state_memory {
  std::vector<float> out{}, lse{};
  std::array<std::vector<float>, 5> statistics{};

  state_memory() = default;
  state_memory(const std::array<index_t, 4>& shape, const row_statistics& wanted)
      : out(elements(shape[0] * shape[1] * shape[2] * shape[3])),
        lse(elements(shape[0] * shape[1] * shape[2])) {
    const auto all = wanted.all();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].rows) statistics[i].resize(lse.size());
    }
  }

  /// The state of rows of this shape, at most the rows that there is memory for.
  partial_state state(const std::array<index_t, 4>& shape) {
    const std::array<index_t, 3> rows{shape[0], shape[1], shape[2]};
    const auto each = [&](std::size_t i) {
      return statistics[i].empty() ? std::nullopt
                                   : std::optional(view<float, 3>(statistics[i].data(), rows));
    };
    return {view<float, 4>(out.data(), shape),
            view<float, 3>(lse.data(), rows),
            {each(0), each(1), each(2), each(3), each(4)}};
  }

 private:
  static std::size_t elements(index_t count) { return static_cast<std::size_t>(count); }
};

/// Rows [first, first + count) of statistics.
inline row_statistics slice_statistics(const row_statistics& all, index_t first, index_t count) {
  const auto part = [&](const std::optional<view<float, 3>>& rows) {
    return rows ? std::optional(rows->slice(2, first, count)) : std::nullopt;
  };
  return {part(all.max_probability), part(all.entropy), part(all.logit_count), part(all.logit_mean),
          part(all.logit_variance)};
}

/// Writes results to the outputs of a call.
template <executor Executor, class Out>
void write_results(const Executor& runner, const partial_state& from, const view<Out, 4>& out,
                   const options& opts) {
  const auto& shape = from.out.shape;
  runner.run(shape[0] * shape[1], [&](index_t item, index_t) {
    const index_t batch = item / shape[1];
    const index_t head = item % shape[1];
    for (index_t row = 0; row < shape[2]; ++row) {
      for (index_t c = 0; c < shape[3]; ++c) {
        out(batch, head, row, c) = static_cast<Out>(from.out(batch, head, row, c));
      }
      if (opts.lse) (*opts.lse)(batch, head, row) = from.lse(batch, head, row);
      copy_row_statistics(opts.statistics, from.statistics, batch, head, row);
    }
  });
}

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
