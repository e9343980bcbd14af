// expect: relpos: q, k, v and out hold float, relpos::bfloat16 or relpos::half; out is not const
#include <relpos/views.hpp>

relpos::status call(relpos::workspace memory, relpos::view<float, 4> out,
                    relpos::view<const double, 4> in) {
  return relpos::attention(relpos::serial{}, memory, out, in, in, in);
}
