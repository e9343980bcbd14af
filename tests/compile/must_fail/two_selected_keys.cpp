// expect: relpos: selected keys are given twice
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v, const relpos::selected_keys& keys) {
  return relpos::attention(q, k, v, keys, keys);
}
