#pragma once
// Biases that each query row, or each key row, has in a table of its own, over buckets of the
// distance (DeBERTa, He et al., arXiv 2006.03654, whose tables are products of a row with the
// embeddings of positions):
//
//   query_tables{tables, buckets, first_distance}   s += tables[batch, head, query row, bucket]
//   key_tables{tables, buckets, first_distance}     s += tables[batch, head, key row, bucket]
//
// where bucket = buckets[key row - query row - first_distance]. Memory is rows x buckets, not
// queries x keys. A bias that is a sum of few tables over the distance takes less time as a
// mixed_bias.

#include <algorithm>
#include <array>
#include <cstdint>

#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// A bias that each row has in a table of its own, over buckets of the distance (DeBERTa):
/// query_tables and key_tables.
///
/// `tables` is a view or tensor of float, [batch, heads, row, bucket]; strides are arbitrary.
/// `buckets` are std::int32_t, one number for each distance key row - query row from first_distance
/// on; nearer or farther distances have the bucket of the nearest in the list. Queries and keys
/// begin at the same position, as in an encoder. The bias is added after options.scale: a model
/// that divides the sum by it has it in the tables. Minus infinity hides a key. The caller keeps both
/// alive. Not tested on a GPU.
///
/// @copydoc row_tables.hpp
/// @snippet reference.cpp row_tables
template <bool OfKeys>
struct row_tables {
  view<const float, 4> tables;            ///< [batch, heads, row, bucket]
  borrowed_values<std::int32_t> buckets;  ///< one for each distance
  index_t first_distance;                 ///< key row - query row of the first bucket

  /// Tables, the buckets of distances, and the distance of the first bucket.
  constexpr row_tables(view<const float, 4> of_rows, borrowed_values<std::int32_t> of_distances,
                       index_t first_of_distances)
      : tables(of_rows), buckets(of_distances), first_distance(first_of_distances) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_head {
    const float* data;
    index_t row_stride, bucket_stride;
    const std::int32_t* buckets;
    index_t first_distance, last;

    constexpr float bias_element(index_t query_row, index_t key_row) const {
      const index_t place = key_row - query_row - first_distance;
      const index_t bucket = buckets[std::clamp<index_t>(place, 0, last)];
      return data[(OfKeys ? key_row : query_row) * row_stride + bucket * bucket_stride];
    }
  };
  constexpr of_head bind(index_t batch, index_t head) const {
    return {tables.data + batch * tables.strides[0] + head * tables.strides[1],
            tables.strides[2],
            tables.strides[3],
            buckets.data,
            first_distance,
            buckets.size - 1};
  }

  constexpr row_tables from_rows(index_t query_row, index_t key_row, index_t distance) const {
    row_tables result = *this;
    result.tables.data += (OfKeys ? key_row : query_row) * tables.strides[2];
    result.first_distance -= distance;
    return result;
  }

  status check(const attention_shape& shape) const {
    if (status valid = check_view(OfKeys ? "key_tables: tables" : "query_tables: tables", tables);
        !valid) {
      return valid;
    }
    const std::array<index_t, 4> rows{shape.batch, shape.query_heads,
                                      OfKeys ? shape.key_length : shape.query_length,
                                      tables.shape[3]};
    if (tables.shape != rows || rows[3] < 1) {
      return shapes_differ(
          OfKeys
              ? "key_tables: tables are %s, must be [batch, heads, key, bucket] = %s, with a "
                "bucket"
              : "query_tables: tables are %s, must be [batch, heads, query, bucket] = %s, with a "
                "bucket",
          tables.shape, rows);
    }
    if (buckets.size < 1 || buckets.data == nullptr) {
      return status::error(status_code::invalid_shape,
                           "%s: buckets must have a number for at least one distance", name());
    }
    for (index_t i = 0; i < buckets.size; ++i) {
      if (0 <= buckets.data[i] && buckets.data[i] < rows[3]) continue;
      return status::error(status_code::invalid_value,
                           "%s: buckets have %lld at %lld, must be 0 to %lld, tables are %s",
                           name(), static_cast<long long>(buckets.data[i]),
                           static_cast<long long>(i), static_cast<long long>(rows[3] - 1),
                           shape_text(tables.shape).text);
    }
    return check_offset("first_distance", first_distance);
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    for (index_t i = 0; i < call.shape.batch; ++i) {
      const positions offsets = call.position_of(i);
      if (offsets.query_offset == offsets.key_offset) continue;
      return status::error(
          status_code::invalid_value,
          "%s: the distances are of rows, but the queries of sequence %lld begin at %lld and its "
          "keys at %lld: options.query_offset",
          name(), static_cast<long long>(i), static_cast<long long>(offsets.query_offset),
          static_cast<long long>(offsets.key_offset));
    }
    return {};
  }
  bool reads(const byte_range& memory) const {
    return byte_range::of(tables).overlaps(memory) || buckets.overlaps(memory);
  }

 private:
  static constexpr const char* name() { return OfKeys ? "key_tables" : "query_tables"; }
};

/// A table for each query row.
using query_tables = row_tables<false>;
/// A table for each key row.
using key_tables = row_tables<true>;

/// @}

}  // namespace relpos::inline RELPOS_ABI
