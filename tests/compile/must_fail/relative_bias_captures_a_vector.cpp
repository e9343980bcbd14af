// expect: relpos: the function of relative_bias is copied bit by bit: capture containers by reference
#include <relpos/views.hpp>

#include <vector>

relpos::status call(relpos::workspace memory, relpos::view<float, 4> out,
                    relpos::view<const float, 4> in) {
  const std::vector<double> rates(8);
  return relpos::attention(
      relpos::serial{}, memory, out, in, in, in,
      relpos::relative_bias{[rates](relpos::index_t head, relpos::index_t distance) {
        return rates[static_cast<std::size_t>(head)] * static_cast<double>(distance);
      }});
}
