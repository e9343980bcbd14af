#pragma once
// A byte-level decoder-only Transformer, as model.py trains it: its weights, and all of its layers
// but attention.

#include <Eigen/Core>
#include <array>
#include <string>
#include <vector>

namespace extrapolation {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline constexpr long layers = 4;
inline constexpr long width = 128;
inline constexpr long heads = 4;
inline constexpr long head_dim = 32;
inline constexpr long hidden = 320;
inline constexpr long trained_length = 256;
inline constexpr long mixed_terms = 16;
inline constexpr long t5_buckets = 32;

/// The weights of a layer: products are x * weights.
struct layer_weights {
  matrix qkv, projection, up, down;
  Eigen::RowVectorXf attention_norm, hidden_norm;
  matrix mix;     // [head_dim, mixed_terms], of a mixed bias
  matrix tables;  // [mixed_terms, trained_length], by distance
};

struct language_model {
  matrix embedding;  // [256, width]; its transpose gives the logits
  std::array<layer_weights, layers> of_layer;
  Eigen::RowVectorXf norm;
  std::vector<float> t5_table;  // [t5_buckets, heads], of all layers

  /// Reads the weights. Throws std::runtime_error, as safetensors does, and for missing tensors.
  explicit language_model(const std::string& path);
};

/// Divides each row by its root mean square, and multiplies its channels by `weights`.
matrix rms_norm(const matrix& rows, const Eigen::RowVectorXf& weights);

/// The exact GELU of each number.
void gelu(matrix& rows);

}  // namespace extrapolation
