// expect: relpos: tensors are Eigen::RowMajor; for any other layout use a relpos::view with strides
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4>;  // Eigen's default

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, relpos::causal{});
}
