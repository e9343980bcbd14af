// expect: relpos: tensors are Eigen::Tensor or Eigen::TensorMap; evaluate an expression first
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q * 2.0f, k, v, relpos::causal{});
}
