// expect: relpos: this argument is neither options nor a policy: a policy is a trivially copyable struct with rotations
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, 0.85f);
}
