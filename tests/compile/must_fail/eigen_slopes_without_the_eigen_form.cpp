// expect: relpos: an Eigen vector or matrix may have strides: include relpos/relpos.hpp, which reads them
#include <relpos/views.hpp>

#include <Eigen/Core>

relpos::alibi policy(const Eigen::VectorXf& slopes) { return relpos::alibi{slopes}; }
