#pragma once
// The variants of the models: how each is given positions, and how it is made to read texts longer
// than those it was trained on.

#include <relpos/views.hpp>

#include <span>
#include <string>
#include <vector>

#include "language_model.hpp"

namespace extrapolation {

enum class encoding { none, sinusoidal, rope, xpos, alibi, t5, mixed };

/// The change at lengths beyond the training length.
enum class stretch {
  none,
  linear,           // RoPE: positions divided by length / trained_length
  ntk,              // RoPE: a larger base
  yarn,             // RoPE: slow channels divided, fast ones kept
  blockwise,        // XPOS: blockwise causal attention, blocks of half the training length
  max_probability,  // T5: temperatures that keep the largest probability
  entropy           // T5: temperatures that keep the entropy
};

struct variant {
  const char* name;   // as --encoding takes it
  const char* model;  // file of weights, without .safetensors
  encoding by;
  stretch beyond = stretch::none;
  bool is_second_seed = false;  // shows how much is luck; only its bits per byte are measured
};

/// All variants, in the order of the table.
std::span<const variant> variants();

/// The temperature of each layer and head: 1 unless aligned.
using temperatures = std::vector<std::vector<float>>;  // [layer][head]

/// The rotations of a variant for texts of one length.
relpos::rotary_frequencies frequencies_of(const variant& of, long length);

inline constexpr float score_scale = 0.17677669f;  // 1 / sqrt(head_dim)

/// Calls use(policies...) with the policies of a layer. `qkv` is [length, 3 * width], the packed
/// projections, of which a mixed bias takes its coefficients; `rotation` may be null where none is.
template <class Use>
void with_policies(const variant& of, const language_model& model, long layer, const matrix& qkv,
                   const relpos::rotary_table* rotation, const std::vector<float>& temperature,
                   const Use& use) {
  using namespace relpos;
  switch (of.by) {
    case encoding::none:
    case encoding::sinusoidal:
      return use(causal{});
    case encoding::rope:
      return use(rotary{*rotation}, causal{});
    case encoding::xpos:
      if (of.beyond == stretch::blockwise) {
        return use(rotary{*rotation}, blockwise_causal{trained_length / 2});
      }
      return use(rotary{*rotation}, causal{});
    case encoding::alibi: {
      static const std::vector<float> slopes = alibi_slopes(heads);
      return use(alibi{slopes}, causal{});
    }
    case encoding::t5:
      return use(t5_bias{model.t5_table, unidirectional}, head_temperature{temperature}, causal{});
    case encoding::mixed: {
      const layer_weights& weights = model.of_layer[static_cast<std::size_t>(layer)];
      const long rows = qkv.rows();
      const Eigen::Map<const matrix, 0, Eigen::OuterStride<>> queries(
          qkv.data(), rows, width, Eigen::OuterStride<>(qkv.cols()));
      matrix coefficients(rows, heads * mixed_terms);  // [row, head and term]
      for (long head = 0; head < heads; ++head) {
        coefficients.middleCols(head * mixed_terms, mixed_terms).noalias() =
            queries.middleCols(head * head_dim, head_dim) * weights.mix;
      }
      const view<const float, 4> by_query(
          coefficients.data(), {1, heads, rows, mixed_terms},
          {coefficients.size(), mixed_terms, coefficients.cols(), 1});
      // The tables go by distance back from the query, the policy from the farthest key on.
      const view<const float, 3> by_distance(weights.tables.data() + trained_length - 1,
                                             {1, mixed_terms, trained_length},
                                             {weights.tables.size(), trained_length, -1});
      return use(mixed_bias{by_query, by_distance, 1 - trained_length, table_ends::repeated},
                 causal{});
    }
  }
}

}  // namespace extrapolation
