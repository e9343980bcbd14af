// expect: relpos: policy data (slopes, tables) is contiguous: an Eigen matrix is RowMajor, and no row, column or block of another; copy it into one that is
#include <relpos/relpos.hpp>

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

void use(const matrix& tables) {
  const auto table = tables.leftCols(8);
  relpos::t5_bias{table, relpos::bidirectional};
}
