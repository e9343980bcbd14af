// expect: relpos: the matrix of additive_bias is a view or a tensor of float with four axes
#include <relpos/relpos.hpp>

auto call(const Eigen::Tensor<float, 4, Eigen::RowMajor>& matrix) {
  return relpos::additive_bias{matrix + matrix};
}
