// expect: relpos: bias(distance) must be a template over the type of distance, double or a pack of floats, and calls relpos::abs, max, min and select on it
#include <relpos/views.hpp>

#include <cmath>

struct logarithmic {
  double bias(double distance) const { return -std::log1p(std::abs(distance)); }
};

using tensor = relpos::view<float, 4>;

relpos::status use(relpos::workspace memory, tensor out, tensor q) {
  return relpos::attention(relpos::serial{}, memory, out, q, q, q, logarithmic{});
}
