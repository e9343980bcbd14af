// expect: relpos: a policy refers to its data and does not copy it: give the vector a name and keep it alive, instead of passing a temporary
#include <relpos/relpos.hpp>

relpos::alibi policy() { return relpos::alibi{Eigen::VectorXf(8)}; }
