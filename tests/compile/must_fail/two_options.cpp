// expect: relpos: options are given twice
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, relpos::options{.scale = 1.0f}, relpos::causal{},
                           relpos::options{.softcap = 30.0f});
}
