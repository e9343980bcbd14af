// expect: relpos: a view refers to a tensor and does not copy it: give the tensor a name and keep it alive, instead of passing a temporary
#include <relpos/relpos.hpp>

relpos::additive_bias policy() {
  return relpos::additive_bias{Eigen::Tensor<float, 4, Eigen::RowMajor>(1, 8, 128, 128)};
}
