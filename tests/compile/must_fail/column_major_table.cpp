// expect: relpos: tensors are Eigen::RowMajor; for any other layout use a relpos::view with strides
#include <relpos/relpos.hpp>

relpos::t5_bias policy(const Eigen::Tensor<float, 2>& table) {
  return relpos::t5_bias{table, relpos::bidirectional};
}
