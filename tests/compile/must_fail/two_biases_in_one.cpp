// expect: relpos: a policy has one of bias, tabulated_bias, tabulated_term, bias_element and key_term
#include <relpos/views.hpp>

struct line_and_table {
  template <class Real>
  constexpr Real bias(Real distance) const {
    return distance;
  }
  double tabulated_bias(relpos::index_t, relpos::index_t distance) const {
    return static_cast<double>(distance);
  }
};

relpos::status call(relpos::workspace memory, relpos::view<float, 4> out,
                    relpos::view<const float, 4> in) {
  return relpos::attention(relpos::serial{}, memory, out, in, in, in, line_and_table{});
}
