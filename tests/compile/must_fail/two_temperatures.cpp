// expect: relpos: the temperature is given twice
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, relpos::temperature{0.9}, relpos::causal{},
                           relpos::temperature{0.8});
}
