#pragma once
// Checks of the shapes, strides and pointers of tensors, and of tensors that must match.

#include <algorithm>
#include <optional>

#include "relpos/call/row_statistics.hpp"
#include "relpos/call/sequences.hpp"
#include "relpos/check/sequences.hpp"
#include "relpos/core/byte_range.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The outputs of a call, with their names in messages. Elements are `Real`, except that `out` may
/// be stored in 16 bits and statistics are float.
template <class Out, class Real = float>
struct call_outputs {
  view<Out, 4> out;
  std::optional<view<Real, 3>> lse;
  row_statistics statistics{};
  const char* out_name = "out";
  const char* lse_name = "options.lse";

  /// The view of lse; an empty view if lse is absent.
  view<Real, 3> lse_or_none() const { return lse.value_or(view<Real, 3>()); }
};

/// Refuses negative extents, elements beyond the limit of is_addressable, and null data. `name` is
/// the name of the argument.
RELPOS_NOINLINE inline status check_elements(const char* name, const strided_bytes& elements) {
  const auto shape = [&] { return shape_text(elements.shape.data(), elements.rank); };
  const auto strides = [&] { return shape_text(elements.strides.data(), elements.rank); };
  for (std::size_t axis = 0; axis < elements.rank; ++axis) {
    if (elements.shape[axis] < 0) {
      return status::error(status_code::invalid_shape,
                           "%s: shape is %s, extents must not be negative", name, shape().text);
    }
  }
  if (!is_addressable(elements)) {
    return status::error(status_code::invalid_shape,
                         "%s: shape %s with strides %s reaches beyond 2^56 elements", name,
                         shape().text, strides().text);
  }
  if (!elements.is_empty() && elements.address == 0) {
    return status::error(status_code::null_data, "%s: data is null, shape is %s", name,
                         shape().text);
  }
  return {};
}

/// check_elements for a tensor that is written. Also refuses elements that share memory.
RELPOS_NOINLINE inline status check_written_elements(const char* name,
                                                     const strided_bytes& elements) {
  if (status valid = check_elements(name, elements); !valid) return valid;
  if (!elements.is_empty() && !elements_are_distinct(elements)) {
    return status::error(status_code::invalid_stride,
                         "%s: with strides %s, elements of shape %s share memory or interleave",
                         name, shape_text(elements.strides.data(), elements.rank).text,
                         shape_text(elements.shape.data(), elements.rank).text);
  }
  return {};
}

/// Refuses a view that is invalid by itself (check_elements).
template <class T, int Rank>
status check_view(const char* name, const view<T, Rank>& array) {
  return check_elements(name, strided_bytes::of(array));
}

/// Refuses a written view that is invalid by itself (check_written_elements).
template <class T, int Rank>
status check_output(const char* name, const view<T, Rank>& array) {
  return check_written_elements(name, strided_bytes::of(array));
}

/// The largest length: rows are counted in 32 bits inside a tile.
inline constexpr index_t max_length = (index_t{1} << 31) - 1;

/// Refuses queries that are invalid, have head_dim 0 or do not fit their cumulative lengths.
template <class Query>
status check_queries(const view<Query, 4>& q, const index_list& starts) {
  if (status valid = check_view("q", q); !valid) return valid;
  if (q.shape[3] == 0) {
    return status::error(status_code::invalid_shape,
                         "q: head_dim is 0 in shape %s, must be at least 1",
                         shape_text(q.shape).text);
  }
  return check_starts("options.query_starts", starts, "q", q.shape);
}

/// Refuses k [batch, key heads, key, d] and v [batch, key heads, key, d_v] that are invalid or do
/// not match.
template <class Key, class Value>
status check_key_values(const view<Key, 4>& k, const view<Value, 4>& v, const index_list& starts) {
  if (status valid = check_view("k", k); !valid) return valid;
  if (status valid = check_view("v", v); !valid) return valid;
  if (status valid = check_starts("options.key_starts", starts, "k", k.shape); !valid) return valid;
  if (v.shape[0] != k.shape[0] || v.shape[1] != k.shape[1] || v.shape[2] != k.shape[2]) {
    return shapes_differ("v: batch, heads and length must equal those in k, v is %s, k is %s",
                         v.shape, k.shape);
  }
  return {};
}

/// Refuses q [batch, heads, query, d], k and v that are invalid or do not match. The number of
/// heads must be a multiple of the number of key heads, the numbers of sequences of queries and of
/// keys must be equal, and lengths must be at most max_length.
template <class Query, class Key, class Value>
status check_inputs(const view<Query, 4>& q, const view<Key, 4>& k, const view<Value, 4>& v,
                    const index_list& query_starts = {}, const index_list& key_starts = {}) {
  if (status valid = check_queries(q, query_starts); !valid) return valid;
  if (status valid = check_view("k", k); !valid) return valid;
  if (query_starts.empty() && key_starts.empty() && k.shape[0] != q.shape[0]) {
    return shapes_differ("k: batch differs, k is %s, q is %s", k.shape, q.shape);
  }
  if (status valid = check_key_values(k, v, key_starts); !valid) return valid;
  const index_t query_sequences = sequence_count(q.shape[0], query_starts);
  const index_t key_sequences = sequence_count(k.shape[0], key_starts);
  if (query_sequences != key_sequences) {
    return status::error(status_code::invalid_shape,
                         "options.key_starts: %lld sequences of keys, but %lld of queries",
                         static_cast<long long>(key_sequences),
                         static_cast<long long>(query_sequences));
  }
  if (k.shape[3] != q.shape[3]) {
    return shapes_differ("k: head_dim differs, k is %s, q is %s", k.shape, q.shape);
  }
  const bool no_key_heads = k.shape[1] == 0;
  if (no_key_heads ? q.shape[1] != 0 : q.shape[1] % k.shape[1] != 0) {
    return shapes_differ("k: query heads must be a multiple of key heads, k is %s, q is %s",
                         k.shape, q.shape);
  }
  if (q.shape[2] > max_length || k.shape[2] > max_length) {
    return shapes_differ("q, k: at most 2^31 - 1 rows, q is %s, k is %s", q.shape, k.shape);
  }
  return {};
}

/// Whether a call has at most 2^31 - 1 channels, and heads of all sequences, and a workspace whose
/// bytes 64 bits can count: at most 2^58 numbers of rows for each 1024 keys, of keys, and of keys
/// for each worker.
inline bool size_fits(const attention_shape& shape, index_t workers) {
  const auto real = [](index_t x) { return static_cast<double>(x); };
  const double heads = real(shape.batch) * real(std::max(shape.query_heads, shape.key_heads));
  const double keys = real(shape.key_length);
  const double rows = std::max({heads * real(shape.query_length) * (keys / 1024.0 + 1.0),
                                heads * keys, real(workers) * (keys + 1024.0)});
  return heads <= real(max_length) && std::max(shape.head_dim, shape.value_dim) <= max_length &&
         rows * (real(shape.head_dim) + real(shape.value_dim) + 1.0) <= 0x1p58;
}

/// Refuses a call whose size does not fit. Callers ask size_fits first: to return a status takes
/// some fifty instructions more, which small calls notice.
RELPOS_NOINLINE inline status check_size(const attention_shape& shape, index_t workers) {
  if (size_fits(shape, workers)) return {};
  const auto number = [](index_t x) { return static_cast<long long>(x); };
  const index_t heads = std::max(shape.query_heads, shape.key_heads);
  if (static_cast<double>(shape.batch) * static_cast<double>(heads) >
      static_cast<double>(max_length)) {
    return status::error(status_code::invalid_shape,
                         "q: %lld sequences of %lld heads, must be at most 2^31 - 1 heads in all",
                         number(shape.batch), number(heads));
  }
  if (std::max(shape.head_dim, shape.value_dim) > max_length) {
    return status::error(
        status_code::invalid_shape,
        "q, v: %lld channels in q and k, %lld in v, must be at most 2^31 - 1 channels",
        number(shape.head_dim), number(shape.value_dim));
  }
  return status::error(
      status_code::invalid_shape,
      "q, k, v: the workspace of %lld sequences, %lld heads, %lld queries, %lld keys, %lld + %lld "
      "channels and %lld workers does not fit into 64 bits",
      number(shape.batch), number(shape.query_heads), number(shape.query_length),
      number(shape.key_length), number(shape.head_dim), number(shape.value_dim), number(workers));
}

/// Refuses outputs that are not [batch, heads, query, d_v] and, for lse and statistics,
/// [batch, heads, query].
template <class Out, class Real, class Query>
status check_outputs(const call_outputs<Out, Real>& outputs, const view<Query, 4>& q,
                     index_t value_dim) {
  const auto refuse = [](const char* name, const auto& actual, const auto& expected) {
    return status::error(status_code::invalid_shape, "%s: shape is %s, must be %s", name,
                         shape_text(actual).text, shape_text(expected).text);
  };
  if (status valid = check_output(outputs.out_name, outputs.out); !valid) return valid;
  const std::array<index_t, 4> out_shape{q.shape[0], q.shape[1], q.shape[2], value_dim};
  if (outputs.out.shape != out_shape) return refuse(outputs.out_name, outputs.out.shape, out_shape);
  const std::array<index_t, 3> rows{q.shape[0], q.shape[1], q.shape[2]};
  const auto check_rows = [&](const char* name, const auto& array) -> status {
    if (!array) return {};
    if (status valid = check_output(name, *array); !valid) return valid;
    return array->shape == rows ? status() : refuse(name, array->shape, rows);
  };
  if (status valid = check_rows(outputs.lse_name, outputs.lse); !valid) return valid;
  for (const auto& statistic : outputs.statistics.all()) {
    if (status valid = check_rows(statistic.name, statistic.rows); !valid) return valid;
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
