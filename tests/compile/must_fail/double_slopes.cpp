// expect: relpos: policy data is an array of float (slopes, tables) or of relpos::index_t (positions)
#include <relpos/views.hpp>

#include <vector>

relpos::alibi policy(const std::vector<double>& slopes) { return relpos::alibi{slopes}; }
