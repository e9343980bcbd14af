#include "language_model.hpp"

#include <unsupported/Eigen/SpecialFunctions>

#include "first_bytes.hpp"
#include "safetensors.hpp"

namespace extrapolation {

language_model::language_model(const std::string& path) {
  const safetensors file(path, first_bytes(path, std::size_t{1} << 30));
  const auto stored = [&](const std::string& name, long rows, long columns) {
    return Eigen::Map<const matrix>(file.values(name, {rows, columns}).data(), rows, columns);
  };
  // PyTorch's [outputs, inputs], transposed.
  const auto product = [&](const std::string& name, long inputs, long outputs) -> matrix {
    return stored(name, outputs, inputs).transpose();
  };
  const auto row = [&](const std::string& name) -> Eigen::RowVectorXf {
    return Eigen::Map<const Eigen::RowVectorXf>(file.values(name, {width}).data(), width);
  };
  embedding = stored("embedding.weight", 256, width);
  norm = row("norm.weight");
  for (long i = 0; i < layers; ++i) {
    const std::string prefix = "layers." + std::to_string(i) + ".";
    layer_weights& of = of_layer[static_cast<std::size_t>(i)];
    of.attention_norm = row(prefix + "attention_norm.weight");
    of.qkv = product(prefix + "qkv.weight", width, 3 * width);
    of.projection = product(prefix + "projection.weight", width, width);
    of.hidden_norm = row(prefix + "hidden_norm.weight");
    of.up = product(prefix + "up.weight", width, hidden);
    of.down = product(prefix + "down.weight", hidden, width);
    if (file.has(prefix + "tables")) {
      of.mix = product(prefix + "mix.weight", head_dim, mixed_terms);
      of.tables = stored(prefix + "tables", mixed_terms, trained_length);
    }
  }
  if (file.has("table")) t5_table = file.values("table", {t5_buckets, heads});
}

matrix rms_norm(const matrix& rows, const Eigen::RowVectorXf& weights) {
  const Eigen::VectorXf factor = (rows.array().square().rowwise().mean() + 1e-5f).rsqrt();
  return factor.asDiagonal() * rows * weights.asDiagonal();
}

void gelu(matrix& rows) {
  rows = 0.5f * rows.array() * (1.0f + (rows.array() * 0.70710678f).erf());
}

}  // namespace extrapolation
