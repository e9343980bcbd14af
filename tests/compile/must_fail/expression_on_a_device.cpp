// expect: relpos: tensors are Eigen::Tensor or Eigen::TensorMap; evaluate an expression first
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

void call(tensor& out, const tensor& q, const tensor& k, const tensor& v) {
  relpos::attention(Eigen::DefaultDevice(), out, q, k, v + k, relpos::causal{});
}
