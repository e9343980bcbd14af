// expect: relpos: tensors hold float, Eigen::bfloat16 or Eigen::half
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<double, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, relpos::causal{});
}
