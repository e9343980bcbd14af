#pragma once
// Every argument is checked once, at the entry, before anything is written. The kernels behind it
// assume what is said here.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "relpos/core/options.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/status.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// The bytes between a view's first and last element: what it can touch.
struct byte_range {
  std::intptr_t first = 0;
  std::intptr_t last = 0;

  template <class T, int Rank>
  static byte_range of(const view<T, Rank>& array) {
    if (array.size() == 0) return {};
    index low = 0;
    index high = 0;
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      const index span = (array.shape[axis] - 1) * array.strides[axis];
      (span < 0 ? low : high) += span;
    }
    const auto size = static_cast<index>(sizeof(T));
    const auto base = reinterpret_cast<std::intptr_t>(array.data);
    return {base + low * size, base + (high + 1) * size};
  }
  bool overlaps(const byte_range& other) const { return first < other.last && other.first < last; }
};

/// A shape as text, "[2, 8, 128, 64]".
struct shape_text {
  char text[96];

  template <std::size_t Rank>
  explicit shape_text(const std::array<index, Rank>& shape) {
    int at = std::snprintf(text, sizeof text, "[");
    for (std::size_t axis = 0; axis < Rank; ++axis) {
      at += std::snprintf(text + at, sizeof text - static_cast<std::size_t>(at), "%s%lld",
                          axis == 0 ? "" : ", ", static_cast<long long>(shape[axis]));
    }
    std::snprintf(text + at, sizeof text - static_cast<std::size_t>(at), "]");
  }
};

/// No two elements share memory: the strides, from the smallest, each step over all that is below.
template <class T, int Rank>
bool elements_are_distinct(const view<T, Rank>& array) {
  std::array<std::size_t, static_cast<std::size_t>(Rank)> order{};
  for (std::size_t axis = 0; axis < Rank; ++axis) order[axis] = axis;
  const auto magnitude = [&](std::size_t axis) {
    return array.strides[axis] < 0 ? -array.strides[axis] : array.strides[axis];
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return magnitude(a) < magnitude(b); });
  index reach = 0;
  for (const std::size_t axis : order) {
    if (array.shape[axis] <= 1) continue;
    if (magnitude(axis) <= reach) return false;
    reach += (array.shape[axis] - 1) * magnitude(axis);
  }
  return true;
}

/// Refuses what a view of `name` cannot be, whatever the others are.
template <class T, int Rank>
status check_view(const char* name, const view<T, Rank>& array) {
  for (const index extent : array.shape) {
    if (extent < 0) {
      return status::error(status_code::invalid_shape,
                           "%s: shape is %s, extents must not be negative", name,
                           shape_text(array.shape).text);
    }
  }
  if (array.size() > 0 && array.data == nullptr) {
    return status::error(status_code::null_data, "%s: data is null, shape is %s", name,
                         shape_text(array.shape).text);
  }
  return {};
}

template <class T, int Rank>
status check_output(const char* name, const view<T, Rank>& array) {
  if (status valid = check_view(name, array); !valid) return valid;
  if (array.size() > 0 && !elements_are_distinct(array)) {
    return status::error(status_code::invalid_stride,
                         "%s: strides %s let elements of shape %s share memory", name,
                         shape_text(array.strides).text, shape_text(array.shape).text);
  }
  return {};
}

/// Lengths are counted in 32 bits inside a tile.
inline constexpr index max_length = (index{1} << 31) - 1;

/// Refuses q, k, v, out and lse that do not belong together:
/// q [batch, heads, query, d], k [batch, key heads, key, d], v [batch, key heads, key, d_v],
/// out [batch, heads, query, d_v], lse [batch, heads, query]; heads a multiple of key heads.
template <class Out, class Query, class Key, class Value>
status check_shapes(const view<Out, 4>& out, const view<Query, 4>& q, const view<Key, 4>& k,
                    const view<Value, 4>& v, const view<float, 3>& lse) {
  if (status valid = check_view("q", q); !valid) return valid;
  if (status valid = check_view("k", k); !valid) return valid;
  if (status valid = check_view("v", v); !valid) return valid;
  if (status valid = check_output("out", out); !valid) return valid;
  if (status valid = check_output("lse", lse); !valid) return valid;

  const auto refuse = [](const char* what, const auto& a, const auto& b) {
    return status::error(status_code::invalid_shape, what, shape_text(a).text, shape_text(b).text);
  };
  if (q.shape[3] == 0) {
    return status::error(status_code::invalid_shape,
                         "q: head_dim is 0 in shape %s, must be at least 1",
                         shape_text(q.shape).text);
  }
  if (k.shape[0] != q.shape[0])
    return refuse("k: batch differs, k is %s, q is %s", k.shape, q.shape);
  if (k.shape[3] != q.shape[3])
    return refuse("k: head_dim differs, k is %s, q is %s", k.shape, q.shape);
  const bool no_key_heads = k.shape[1] == 0;
  if (no_key_heads ? q.shape[1] != 0 : q.shape[1] % k.shape[1] != 0) {
    return refuse("k: query heads must be a multiple of key heads, k is %s, q is %s", k.shape,
                  q.shape);
  }
  if (v.shape[0] != k.shape[0] || v.shape[1] != k.shape[1] || v.shape[2] != k.shape[2]) {
    return refuse("v: batch, heads and length must be those of k, v is %s, k is %s", v.shape,
                  k.shape);
  }
  const std::array<index, 4> wanted{q.shape[0], q.shape[1], q.shape[2], v.shape[3]};
  if (out.shape != wanted) return refuse("out: shape is %s, must be %s", out.shape, wanted);
  const std::array<index, 3> rows{q.shape[0], q.shape[1], q.shape[2]};
  if (lse.data != nullptr && lse.shape != rows) {
    return refuse("lse: shape is %s, must be %s", lse.shape, rows);
  }
  if (q.shape[2] > max_length || k.shape[2] > max_length) {
    return refuse("q, k: at most 2^31 - 1 rows, q is %s, k is %s", q.shape, k.shape);
  }
  return {};
}

/// Refuses outputs that overlap what is read, or each other. Ranges of bytes are compared: an output
/// that is woven between the strides of an input counts as overlapping.
template <class Out, class Query, class Key, class Value>
status check_overlap(const view<Out, 4>& out, const view<Query, 4>& q, const view<Key, 4>& k,
                     const view<Value, 4>& v, const view<float, 3>& lse) {
  struct named_range {
    const char* name;
    byte_range bytes;
    shape_text shape;
  };
  const named_range outputs[] = {{"out", byte_range::of(out), shape_text(out.shape)},
                                 {"lse", byte_range::of(lse), shape_text(lse.shape)}};
  const named_range inputs[] = {{"q", byte_range::of(q), shape_text(q.shape)},
                                {"k", byte_range::of(k), shape_text(k.shape)},
                                {"v", byte_range::of(v), shape_text(v.shape)}};
  const auto refuse = [](const named_range& a, const named_range& b) {
    return status::error(status_code::overlap, "%s: memory of %s %s overlaps %s %s", a.name, a.name,
                         a.shape.text, b.name, b.shape.text);
  };
  for (const named_range& output : outputs) {
    for (const named_range& input : inputs) {
      if (output.bytes.overlaps(input.bytes)) return refuse(output, input);
    }
  }
  if (outputs[1].bytes.overlaps(outputs[0].bytes)) return refuse(outputs[1], outputs[0]);
  return {};
}

inline status check_options(const options& choice) {
  const auto refuse_number = [](const char* name, float value, const char* rule) {
    return status::error(status_code::invalid_value, "options.%s: is %g, must be %s", name,
                         static_cast<double>(value), rule);
  };
  if (choice.scale && !std::isfinite(*choice.scale)) {
    return refuse_number("scale", *choice.scale, "finite");
  }
  if (!(choice.softcap >= 0.0f) || !std::isfinite(choice.softcap)) {
    return refuse_number("softcap", choice.softcap, "finite and not negative (0 is off)");
  }
  const auto fits = [](index offset) { return -max_offset <= offset && offset <= max_offset; };
  if (!fits(choice.key_offset) || (choice.query_offset && !fits(*choice.query_offset))) {
    return status::error(status_code::invalid_value,
                         "options.query_offset, options.key_offset: must be within +-2^60");
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
