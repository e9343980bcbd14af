#include <relpos/eigen/view.hpp>

int main() {
  Eigen::Tensor<float, 2, Eigen::RowMajor> slopes(2, 8);
  slopes.setConstant(0.5f);
  return relpos::view_of(slopes)(1, 7) == 0.5f ? 0 : 1;
}
