// expect: relpos: this argument is neither options nor a policy: a policy is a trivially copyable struct with rotations
#include <relpos/views.hpp>

#include <vector>

struct owning {
  std::vector<double> values;
  double tabulated_bias(relpos::index_t, relpos::index_t distance) const {
    return values[static_cast<std::size_t>(distance)];
  }
};

relpos::status call(relpos::workspace memory, relpos::view<float, 4> out,
                    relpos::view<const float, 4> in) {
  return relpos::attention(relpos::serial{}, memory, out, in, in, in, owning{});
}
