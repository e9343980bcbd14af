// expect: relpos: a view refers to a tensor and does not copy it: give the tensor a name and keep it alive, instead of passing a temporary
#include <relpos/relpos.hpp>

relpos::options opts() { return {.lse = Eigen::Tensor<float, 3, Eigen::RowMajor>(1, 8, 128)}; }
