// expect: relpos: policy data (slopes, tables) is an array of float
#include <relpos/views.hpp>

#include <vector>

relpos::alibi policy(const std::vector<double>& slopes) { return relpos::alibi{slopes}; }
