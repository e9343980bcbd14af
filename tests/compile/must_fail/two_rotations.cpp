// expect: relpos: the rotation is given twice
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v, const relpos::rotary& rope) {
  return relpos::attention(q, k, v, rope, relpos::causal{}, rope);
}
