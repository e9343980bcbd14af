// expect: relpos: a sink logit joins the denominator once, not with every slice of the keys
#include <relpos/views.hpp>

relpos::status call(const relpos::partial_state& state, relpos::view<const float, 4> rows,
                    const relpos::sink_logits& sinks) {
  return relpos::partial(relpos::serial{}, relpos::workspace{}, state, rows, rows, rows, sinks);
}
