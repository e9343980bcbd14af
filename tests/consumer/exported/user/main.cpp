#include <sharpness.hpp>

int main() {
  Eigen::Tensor<float, 2, Eigen::RowMajor> slopes(2, 8);
  for (int layer = 0; layer < 2; ++layer) {
    for (int head = 0; head < 8; ++head) slopes(layer, head) = relpos::alibi_slope(head, 8);
  }
  return steepest(relpos::view_of(slopes)) == 0.5f ? 0 : 1;
}
