#include "sharpness.hpp"

#include <algorithm>

float steepest(const relpos::view<const float, 2>& slopes) {
  float most = 0.0f;
  for (relpos::index_t layer = 0; layer < slopes.shape[0]; ++layer) {
    for (relpos::index_t head = 0; head < slopes.shape[1]; ++head) {
      most = std::max(most, slopes(layer, head));
    }
  }
  return most;
}
