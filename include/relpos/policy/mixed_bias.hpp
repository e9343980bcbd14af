#pragma once
// A bias that each query mixes from tables over distance:
//
//   s += sum over terms c of coefficients[batch, head, query row, c] tables[head, c, distance]
//
// These are the relative keys of Shaw et al. (arXiv 1803.02155, equation 4) if the coefficients are
// the query times the scale and the tables are the embeddings of the distances. Transformer-XL (Dai
// et al., arXiv 1901.02860) adds two learned vectors to the query q: the call gets q + u, the
// coefficients are the scale times q + v. Inkling mixes 16 terms. The memory is linear in the
// length, where additive_bias needs a matrix.

//   // embeddings [2 * 16 + 1, head_dim] of distances -16 to 16, clipped
//   const relpos::view<const float, 3> tables(embeddings, {1, head_dim, 33}, {0, 1, head_dim});
//   relpos::attention(runner, memory, out, q, k, v,
//                     relpos::mixed_bias{scaled_q, tables, -16, relpos::table_ends::repeated});

#include "relpos/check/numbers.hpp"
#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// The values of a table beyond its first and its last distance.
enum class table_ends {
  zero,     ///< keys beyond the ends cost hardly anything, if all queries of a group see them
  repeated  ///< of the nearest distance in the table
};

/// A bias that each query mixes from tables over the distance (Shaw, Transformer-XL, Inkling).
///
/// `mixed_bias{coefficients, tables, first_distance, ends}`. `coefficients` is a view or tensor of
/// float, [batch, heads, query, term], indexed by the rows of the call; a ragged batch is indexed as
/// if each sequence were padded to the longest. `tables` is [heads or 1, term, distance] for
/// distances k_pos - q_pos from first_distance on. Strides are arbitrary; the caller keeps both
/// alive. Numbers are finite: infinity and NaN make their rows NaN. The bias is added after
/// options.scale, so coefficients made of a query include the scale. The default scale is
/// 1 / sqrt(head_dim). On the CPU only.
///
/// @copydoc mixed_bias.hpp
/// @snippet reference.cpp mixed_bias
struct mixed_bias {
  view<const float, 4> coefficients;  ///< [batch, heads, query, term]
  view<const float, 3> tables;        ///< [heads or 1, term, distance]
  index_t first_distance;             ///< the distance of the tables' first element
  table_ends ends;                    ///< the values beyond the tables

  /// Coefficients, tables, the distance of the tables' first element, and the values beyond them.
  constexpr mixed_bias(view<const float, 4> row_coefficients, view<const float, 3> term_tables,
                       index_t first_of_tables, table_ends beyond = table_ends::zero)
      : coefficients(row_coefficients),
        tables(term_tables),
        first_distance(first_of_tables),
        ends(beyond) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr index_t terms() const { return tables.shape[1]; }
  constexpr distance_range varies() const {
    return {first_distance, first_distance + tables.shape[2] - 1};
  }
  constexpr bool vanishes_beyond() const { return ends == table_ends::zero; }
  double tabulated_term(index_t head, index_t term, index_t distance) const {
    const index_t last = tables.shape[2] - 1;
    const index_t place = distance - first_distance;
    if (vanishes_beyond() && (place < 0 || place > last)) return 0.0;
    const index_t table = tables.shape[0] == 1 ? 0 : head;
    const index_t nearest = place < 0 ? 0 : place > last ? last : place;
    return static_cast<double>(tables(table, term, nearest));
  }

  struct of_head {
    const float* data;
    index_t row_stride, term_stride;
    constexpr float coefficient(index_t query_row, index_t term) const {
      return data[query_row * row_stride + term * term_stride];
    }
  };
  constexpr of_head bind(index_t batch, index_t head) const {
    return {coefficients.data + batch * coefficients.strides[0] + head * coefficients.strides[1],
            coefficients.strides[2], coefficients.strides[3]};
  }

  status check(const attention_shape& shape) const {
    if (status valid = check_view("mixed_bias: coefficients", coefficients); !valid) return valid;
    if (status valid = check_view("mixed_bias: tables", tables); !valid) return valid;
    const bool of_heads = tables.shape[0] == 1 || tables.shape[0] == shape.query_heads;
    if (!of_heads || tables.shape[1] < 1 || tables.shape[2] < 1) {
      return status::error(
          status_code::invalid_shape,
          "mixed_bias: tables are %s, must be [heads or 1, term, distance], of %lld heads and at "
          "least one term and distance",
          shape_text(tables.shape).text, static_cast<long long>(shape.query_heads));
    }
    const std::array<index_t, 4> rows{shape.batch, shape.query_heads, shape.query_length, terms()};
    if (coefficients.shape != rows) {
      return shapes_differ(
          "mixed_bias: coefficients are %s, must be [batch, heads, query, term] = %s",
          coefficients.shape, rows);
    }
    return check_offset("mixed_bias: first_distance", first_distance);
  }
  bool reads(const byte_range& memory) const {
    return byte_range::of(coefficients).overlaps(memory) || byte_range::of(tables).overlaps(memory);
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
