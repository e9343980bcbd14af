// expect: relpos: relative_bias takes a function of (head, distance) that returns a number
#include <relpos/views.hpp>

auto policy() {
  return relpos::relative_bias{
      [](relpos::index_t distance) { return -static_cast<double>(distance); }};
}
