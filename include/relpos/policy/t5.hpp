#pragma once
// T5's relative position bias: bias = table[bucket(k_pos - q_pos)][head], learned, added to scores
// that are not divided by sqrt(head_dim). Raffel et al., arXiv 1910.10683, section 2.1.
//
// The bias is constant beyond max_distance, so the table that the kernel reads has at most
// 2 max_distance + 3 entries per head, and a vector of padding at each end, at any length.
// Cross-attention has no bias in T5; T5 shares one table across layers, UMT5 has one per layer.

#include <bit>

#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"
#include "relpos/model/t5_bucket.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// The order of the table's axes. The last axis is contiguous.
enum class t5_layout {
  buckets_by_heads,  ///< [num_buckets, heads]: Hugging Face's embedding weight
  heads_by_buckets   ///< [heads, num_buckets]: Mesh TensorFlow, FasterTransformer
};

/// T5's learned bias of buckets of the distance.
///
/// `t5_bias{table, bidirectional}`: 32 buckets, distances up to 128, table [num_buckets, heads].
/// The caller keeps the table alive. Sets the default scale to 1.
///
/// @copydoc t5.hpp
/// @snippet reference.cpp t5_bias
struct t5_bias {
  static constexpr float default_scale = 1.0f;  ///< in place of 1 / sqrt(head_dim)

  /// The sizes of the table.
  struct options {
    index_t num_buckets = 32;    ///< even; at least 4 if bidirectional, else 2
    index_t max_distance = 128;  ///< above the buckets of one distance each, at most 2^30
    t5_layout layout = t5_layout::buckets_by_heads;  ///< the order of the table's axes
  };

  borrowed_data table;                             ///< num_buckets x query heads numbers
  t5_buckets buckets;                              ///< the bucket of each distance
  t5_layout layout = t5_layout::buckets_by_heads;  ///< the order of the table's axes

  /// A table of 32 buckets and distances up to 128.
  constexpr t5_bias(borrowed_data weights, t5_direction direction)
      : t5_bias(weights, direction, options{}) {}
  /// A table of other sizes.
  constexpr t5_bias(borrowed_data weights, t5_direction direction, options opts)
      : table(weights),
        buckets{opts.num_buckets, opts.max_distance, direction},
        layout(opts.layout) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  double tabulated_bias(index_t head, index_t distance) const {
    const index_t bucket = buckets.bucket(distance);
    const index_t heads = table.size / buckets.num_buckets;
    const bool heads_are_columns = layout == t5_layout::buckets_by_heads;
    return static_cast<double>(table.data[heads_are_columns ? bucket * heads + head
                                                            : head * buckets.num_buckets + bucket]);
  }

  constexpr distance_range varies() const {
    const bool is_bidirectional = buckets.direction == t5_direction::bidirectional;
    return {-buckets.max_distance, is_bidirectional ? buckets.max_distance : 0};
  }

  status check(const attention_shape& shape) const {
    const auto num_buckets = static_cast<long long>(buckets.num_buckets);
    const auto max_distance = static_cast<long long>(buckets.max_distance);
    const bool is_bidirectional = buckets.direction == t5_direction::bidirectional;
    if (num_buckets % 2 != 0 || num_buckets < (is_bidirectional ? 4 : 2)) {
      return status::error(status_code::invalid_value,
                           "t5_bias: num_buckets is %lld, must be even and at least %d",
                           num_buckets, is_bidirectional ? 4 : 2);
    }
    const index_t exact = buckets.per_direction() / 2;
    if (buckets.max_distance <= exact || buckets.max_distance > (index_t{1} << 30)) {
      return status::error(status_code::invalid_value,
                           "t5_bias: max_distance is %lld, must be above %lld (the buckets of one "
                           "distance each) and at most 2^30",
                           max_distance, static_cast<long long>(exact));
    }
    const index_t bits = std::bit_width(static_cast<std::uint64_t>(buckets.max_distance));
    if ((buckets.per_direction() - exact) * bits > exact_product::capacity_bits) {
      return status::error(
          status_code::invalid_value,
          "t5_bias: num_buckets %lld with max_distance %lld is beyond exact arithmetic",
          num_buckets, max_distance);
    }
    return check_table(shape);
  }
  bool reads(const byte_range& memory) const { return table.overlaps(memory); }

 private:
  status check_table(const attention_shape& shape) const {
    const bool heads_are_columns = layout == t5_layout::buckets_by_heads;
    const index_t rows = heads_are_columns ? buckets.num_buckets : shape.query_heads;
    const index_t columns = heads_are_columns ? shape.query_heads : buckets.num_buckets;
    const bool has_shape = table.rows != 0 || table.columns != 0;
    const bool fits =
        has_shape ? table.rows == rows && table.columns == columns : table.size == rows * columns;
    const char* const names = heads_are_columns ? "[num_buckets, heads]" : "[heads, num_buckets]";
    if (fits && table.data == nullptr && table.size > 0) {
      return status::error(status_code::null_data,
                           "t5_bias: table is null, must be %s = [%lld, %lld]", names,
                           static_cast<long long>(rows), static_cast<long long>(columns));
    }
    if (fits) return {};
    if (has_shape) {
      return status::error(
          status_code::invalid_shape, "t5_bias: table is [%lld, %lld], must be %s = [%lld, %lld]",
          static_cast<long long>(table.rows), static_cast<long long>(table.columns), names,
          static_cast<long long>(rows), static_cast<long long>(columns));
    }
    return status::error(status_code::invalid_shape,
                         "t5_bias: table has %lld values, must be %s = [%lld, %lld]",
                         static_cast<long long>(table.size), names, static_cast<long long>(rows),
                         static_cast<long long>(columns));
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
