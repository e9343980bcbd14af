#pragma once
// RoPE and XPOS: queries and keys are rotated by their positions before their product.
//
// The frequencies decide the encoding. A call rotates each key once, into its workspace, and each
// query when it packs the query. The loop over keys does no additional work. Angles depend only on
// differences of positions, so the accuracy is the same at any position and any length.
// Su et al., "RoFormer", arXiv 2104.09864; Sun et al., "A Length-Extrapolatable
// Transformer", arXiv 2212.10554.

//   const relpos::rotary_table rope(relpos::rope_frequencies(head_dim), relpos::pair_layout::half_split);
//   out = relpos::attention(q, k, v, relpos::rotary{rope}, relpos::causal{});
//
//   const relpos::rotary_table xpos(relpos::xpos_frequencies(head_dim), relpos::pair_layout::interleaved);
//   out = relpos::attention(q, k, v, relpos::rotary{xpos}, relpos::blockwise_causal{train_length / 2});

#include <concepts>
#include <type_traits>

#include "relpos/contract/policy.hpp"
#include "relpos/model/rotary_table.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup encodings
/// @{

/// RoPE and XPOS: rotates queries and keys by their positions.
///
/// `rotary{table}`: rotates q and k, which are not rotated yet. The caller keeps the table alive.
/// If head_dim is above 2 * pairs, the remaining channels are not rotated (partial rotary).
/// `rotary{table, first_channel}`: rotates the channels from first_channel on, as latent attention
/// (MLA) does behind the channels that are also the values.
///
/// @copydetails rotary.hpp
/// @snippet reference.cpp rotary
struct rotary {
  const rotary_table* table;  ///< the caller's, not null
  index_t first_channel;      ///< from 0 to head_dim - 2 pairs

  /// A table that has a name, and the first channel that rotates.
  template <class Table>
    requires std::same_as<std::remove_cvref_t<Table>, rotary_table>
  constexpr rotary(Table&& model_table, index_t first_rotated_channel = 0)
      : table(&model_table), first_channel(first_rotated_channel) {
    static_assert(std::is_lvalue_reference_v<Table>,
                  "relpos: a policy refers to its data and does not copy it: give the table a name "
                  "and keep it alive, instead of passing a temporary");
  }

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  rotation_rows rotations() const {
    rotation_rows rows = table->rows();
    rows.first_channel = first_channel;
    return rows;
  }
  rotor relative_rotor(index_t pair, index_t distance) const {
    return table->relative(pair, distance);
  }

  status check(const attention_shape& shape) const {
    if (table->fault() != nullptr) {
      return status::error(status_code::invalid_value, "rotary: %s", table->fault());
    }
    const auto pairs = static_cast<long long>(table->pairs());
    const auto first = static_cast<long long>(first_channel);
    const auto head_dim = static_cast<long long>(shape.head_dim);
    if (2 * pairs > head_dim) {
      return status::error(status_code::invalid_shape,
                           "rotary: %lld pairs of channels, must be at most half of head_dim %lld",
                           pairs, head_dim);
    }
    if (0 <= first && first <= head_dim - 2 * pairs) return {};
    return status::error(
        status_code::invalid_shape,
        "rotary: first_channel is %lld, must be 0 to %lld for %lld pairs and head_dim %lld", first,
        head_dim - 2 * pairs, pairs, head_dim);
  }
  bool reads(const byte_range& memory) const { return table->overlaps(memory); }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
