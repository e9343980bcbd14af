// expect: out is not const
#include <relpos/views.hpp>

relpos::status call(relpos::workspace memory, relpos::view<const float, 4> in) {
  return relpos::attention(relpos::serial{}, memory, in, in, in, in);
}
