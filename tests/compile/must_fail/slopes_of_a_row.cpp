// expect: relpos: policy data (slopes, tables) is contiguous: an Eigen matrix is RowMajor, and no row, column or block of another; copy it into one that is
#include <relpos/relpos.hpp>

void use(const Eigen::MatrixXf& slopes_of_layers) {
  const auto slopes = slopes_of_layers.row(3);
  relpos::alibi{slopes};
}
