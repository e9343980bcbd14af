// expect: relpos: a policy refers to its data and does not copy it: give the vector a name and keep it alive, instead of passing a temporary
#include <relpos/views.hpp>

#include <vector>

relpos::t5_bias policy() {
  return relpos::t5_bias{std::vector<float>(32 * 8), relpos::bidirectional};
}
