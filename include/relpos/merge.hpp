#pragma once
// The result of attention over a slice of the keys, and the merge of two results over disjoint
// slices. The merge is associative up to rounding; merging an empty state changes nothing.
//
//   S = e^lse_a + e^lse_b - e^sink,   out = (e^lse_a out_a + e^lse_b out_b) / S,   lse = ln S
//
// Each state of a call with sinks counts the sink, and so the merge takes one away.

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <tuple>

#include "relpos/call/row_statistics.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/check/call.hpp"
#include "relpos/check/overlap.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/core/executor.hpp"
#include "relpos/core/view.hpp"
#include "relpos/stage/merge_statistics.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup partial
/// @{

/// Normalised attention over some of the keys.
struct partial_state {
  view<float, 4> out;           ///< [batch, head, query, d_v]
  view<float, 3> lse;           ///< [batch, head, query]; -inf, with out ignored, without a key
  row_statistics statistics{};  ///< the statistics wanted over all keys
};

/// @}

/// Refuses statistics that cannot be merged: `from` must have every statistic that `into` has,
/// logit_mean needs logit_count, and logit_variance needs both.
inline status check_merged_statistics(const row_statistics& into, const row_statistics& from,
                                      const std::array<index_t, 3>& rows) {
  const auto into_statistics = into.all();
  const auto from_statistics = from.all();
  for (std::size_t i = 0; i < into_statistics.size(); ++i) {
    if (!into_statistics[i].rows) continue;
    const char* const name = into_statistics[i].name;
    if (!from_statistics[i].rows) {
      return status::error(status_code::invalid_value, "from.%s: is absent, but into.%s is not",
                           name, name);
    }
    const view<float, 3> written = into_statistics[i].rows_or_none();
    const view<float, 3> read = from_statistics[i].rows_or_none();
    if (status valid = check_output(name, written); !valid) return valid;
    if (status valid = check_view(name, read); !valid) return valid;
    for (const auto& shape : {written.shape, read.shape}) {
      if (shape == rows) continue;
      return status::error(status_code::invalid_shape, "%s: shape is %s, must be %s", name,
                           shape_text(shape).text, shape_text(rows).text);
    }
  }
  const bool mean_without_count = into.logit_mean && !into.logit_count;
  const bool variance_without_mean = into.logit_variance && !into.logit_mean;
  if (mean_without_count || variance_without_mean) {
    return status::error(status_code::invalid_value,
                         "into.statistics: logit_mean merges with logit_count, and logit_variance "
                         "with both; one of them is absent");
  }
  return {};
}

/// Refuses states that do not fit together, or share memory.
inline status check_merge(const partial_state& into, const partial_state& from) {
  if (status valid = check_output("into.out", into.out); !valid) return valid;
  if (status valid = check_output("into.lse", into.lse); !valid) return valid;
  if (status valid = check_view("from.out", from.out); !valid) return valid;
  if (status valid = check_view("from.lse", from.lse); !valid) return valid;
  const std::array<index_t, 3> rows{into.out.shape[0], into.out.shape[1], into.out.shape[2]};
  if (into.lse.shape != rows) {
    return shapes_differ("into.lse: shape is %s, must be %s", into.lse.shape, rows);
  }
  if (from.out.shape != into.out.shape) {
    return shapes_differ("from.out: shape is %s, must be %s", from.out.shape, into.out.shape);
  }
  if (from.lse.shape != rows) {
    return shapes_differ("from.lse: shape is %s, must be %s", from.lse.shape, rows);
  }
  if (status valid = check_merged_statistics(into.statistics, from.statistics, rows); !valid) {
    return valid;
  }
  const call_outputs<float> written{into.out, into.lse, into.statistics, "into.out", "into.lse"};
  const call_outputs<float> read{from.out, from.lse, from.statistics, "from.out", "from.lse"};
  status result;
  for_each_written(written, [&](const labelled_memory& output) {
    for_each_written(read,
                     [&](const labelled_memory& input) { check_apart(output, input, result); });
  });
  return result ? check_outputs_apart(written) : result;
}

/// Merges one row. `sink` is the sink logit that both states have counted; -inf if there is none.
inline void merge_row(const partial_state& into, const partial_state& from, float sink,
                      index_t batch, index_t head, index_t row) {
  const float empty = -std::numeric_limits<float>::infinity();
  float& lse = into.lse(batch, head, row);
  const float other = from.lse(batch, head, row);
  if (other == empty) return;
  if (lse == empty) {
    copy_row_statistics(into.statistics, from.statistics, batch, head, row);
    for (index_t c = 0; c < into.out.shape[3]; ++c) {
      into.out(batch, head, row, c) = from.out(batch, head, row, c);
    }
    lse = other;
    return;
  }
  // The sum of exponentials over the larger of the two, less 1.
  const float larger = lse > other ? lse : other;
  const float smaller = lse > other ? other : lse;
  const float growth = std::exp(smaller - larger) - std::exp(sink - larger);
  const auto share_of = [&](float of) {
    return set_share{std::exp(of - larger) / (1.0f + growth), -std::expm1(sink - of)};
  };
  const set_share first = share_of(lse);
  const set_share second = share_of(other);
  merge_row_statistics(into.statistics, from.statistics, first, second, batch, head, row);
  for (index_t c = 0; c < into.out.shape[3]; ++c) {
    float& out = into.out(batch, head, row, c);
    out = first.share * out + second.share * from.out(batch, head, row, c);
  }
  lse = larger + std::log1p(growth);
}

/// Merges all rows. `sink_of` is (batch, head, row) -> the sink logit of a query.
template <executor Executor, class SinkOf>
void merge_rows(const Executor& runner, const partial_state& into, const partial_state& from,
                const SinkOf& sink_of) {
  const auto& shape = into.out.shape;
  runner.run(shape[0] * shape[1], [&](index_t item, index_t) {
    const index_t batch = item / shape[1];
    const index_t head = item % shape[1];
    for (index_t row = 0; row < shape[2]; ++row) {
      merge_row(into, from, sink_of(batch, head, row), batch, head, row);
    }
  });
}

/// @addtogroup partial
/// @{

/// Merges `from` into `into`: states of the same queries over disjoint keys.
///
/// The executor runs one item per head of each batch entry. The states may not share memory. Their
/// statistics merge too: `from` has every statistic that `into` has, logit_mean needs logit_count,
/// and logit_variance both.
template <executor Executor>
status merge(const Executor& runner, const partial_state& into,
             const partial_state& from) noexcept {
  if (status valid = check_workers(runner); !valid) return valid;
  if (status valid = check_merge(into, from); !valid) return valid;
  merge_rows(runner, into, from,
             [](index_t, index_t, index_t) { return -std::numeric_limits<float>::infinity(); });
  return {};
}

/// Merges states of calls with sinks.
///
/// `sinks` are `sink_logits` or `row_sink_logits`, the same that both calls had: a state that has
/// not counted them gives wrong numbers. The merged state counts them once.
template <executor Executor, class Sinks>
  requires has_sink<head_policy_of<Sinks>>
status merge(const Executor& runner, const partial_state& into, const partial_state& from,
             const Sinks& sinks) noexcept {
  if (status valid = check_workers(runner); !valid) return valid;
  if (status valid = check_merge(into, from); !valid) return valid;
  const auto& shape = into.out.shape;
  const std::tuple<Sinks> policies(sinks);
  const attention_shape sizes{
      .batch = shape[0], .query_heads = shape[1], .query_length = shape[2], .value_dim = shape[3]};
  if (status valid = check_policies(policies, sizes); !valid) return valid;
  status apart;
  for_each_written(call_outputs<float>{into.out, into.lse, into.statistics, "into.out", "into.lse"},
                   [&](const labelled_memory& output) {
                     if (apart) apart = check_apart_from_policies(output, policy_data(policies));
                   });
  if (!apart) return apart;
  merge_rows(runner, into, from, [&](index_t batch, index_t head, index_t row) {
    return sink_logit(bind_all(policies, batch, head), row);
  });
  return {};
}

/// @}

}  // namespace relpos::inline RELPOS_ABI
