#pragma once
// The running state of one query group: its packed queries and the online softmax of each, one query
// per lane (Milakov and Gimelshein, arXiv 1805.02867; Dao, arXiv 2307.08691).

#include <algorithm>
#include <cmath>
#include <limits>

#include "relpos/core/scratch.hpp"
#include "relpos/core/view.hpp"
#include "relpos/kernel/geometry.hpp"
#include "relpos/kernel/problem.hpp"
#include "relpos/kernel/strided_rows.hpp"

namespace relpos::inline RELPOS_ABI {

/// Below any score and yet finite, so that subtracting it from itself is not NaN: the maximum of a query
/// that has seen no key.
inline constexpr float no_maximum = std::numeric_limits<float>::lowest();

/// Pointers into a slot's scratch. `width` floats per row: the lanes that the group uses.
template <class Isa>
struct query_group {
  index width = 0;
  index rows = 0;            // queries that exist; the other lanes compute on zeros
  float* queries = nullptr;  // [head_dim][width], times the folded scale
  float* outputs = nullptr;  // [value_dim][width], sum of weight * value
  float* maximum = nullptr;  // [width], running maximum of the exponents, base 2
  float* sum = nullptr;      // [width], sum of weights relative to it
  float* norm = nullptr;     // [width], Euclidean norm of the packed query

  static query_group take(scratch_divider& memory, const attention_shape& shape) {
    constexpr index width = geometry<Isa>::group_rows;
    query_group group;
    group.queries = memory.take<float>(shape.head_dim * width);
    group.outputs = memory.take<float>(shape.value_dim * width);
    group.maximum = memory.take<float>(width);
    group.sum = memory.take<float>(width);
    group.norm = memory.take<float>(width);
    return group;
  }

  /// Packs `count` query rows from `first` on, times `factor`, and empties the softmax.
  template <class Query>
  void start(const view<const Query, 4>& q, index batch, index head, index first, index count,
             float factor, index value_dim, float* row_buffer) {
    const index channels = q.shape[3];
    width = ceil_div(count, lanes<Isa>) * lanes<Isa>;
    rows = count;
    const strided_rows<Isa, Query> source(q, batch, head);
    for (index lane = 0; lane < count; ++lane) {
      const float* const row = read_row(source, first + lane, row_buffer);
      for (index c = 0; c < channels; ++c) queries[c * width + lane] = row[c] * factor;
    }
    for (index lane = count; lane < width; ++lane) {
      for (index c = 0; c < channels; ++c) queries[c * width + lane] = 0.0f;
    }
    measure_norms(channels);
    for (index lane = 0; lane < width; ++lane) {
      // A lane without a query must not hold up the skipping of a tile: nothing rises above its maximum.
      maximum[lane] = lane < count ? no_maximum : -no_maximum;
      sum[lane] = 0.0f;
    }
    std::fill(outputs, outputs + value_dim * width, 0.0f);
  }

  void measure_norms(index channels) const {
    using real = float_pack<Isa>;
    for (index lane = 0; lane < width; lane += lanes<Isa>) {
      real square(0.0f);
      for (index c = 0; c < channels; ++c) {
        const real x = real::load(queries + c * width + lane);
        square = fma(x, x, square);
      }
      square.store(norm + lane);
    }
    for (index lane = 0; lane < width; ++lane) norm[lane] = std::sqrt(norm[lane]);
  }

  /// Writes out = outputs / sum, and lse = ln 2 (maximum + log2 sum). An empty row gives 0 and -inf.
  template <class Out>
  void finish(const view<Out, 4>& out, const view<float, 3>& lse, index batch, index head,
              index first) const {
    for (index lane = 0; lane < rows; ++lane) {
      const float total = sum[lane];
      const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
      for (index c = 0; c < out.shape[3]; ++c) {
        out(batch, head, first + lane, c) = static_cast<Out>(outputs[c * width + lane] * inverse);
      }
      if (lse.data != nullptr) {
        lse(batch, head, first + lane) = total == 0.0f ? -std::numeric_limits<float>::infinity()
                                                       : (maximum[lane] + std::log2(total)) * ln2;
      }
    }
  }
};

}  // namespace relpos::inline RELPOS_ABI
