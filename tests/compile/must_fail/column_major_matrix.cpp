// expect: relpos: policy data (slopes, tables) is contiguous: an Eigen matrix is RowMajor, and no row, column or block of another; copy it into one that is
#include <relpos/relpos.hpp>

relpos::t5_bias policy(const Eigen::MatrixXf& table) {
  return relpos::t5_bias{table, relpos::bidirectional};
}
