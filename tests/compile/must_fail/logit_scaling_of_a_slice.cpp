// expect: relpos: this logit scaling needs the number of keys that a query sees, which a slice of the keys does not have
#include <relpos/views.hpp>

relpos::status call(const relpos::partial_state& state, relpos::view<const float, 4> rows) {
  return relpos::partial(relpos::serial{}, relpos::workspace{}, state, rows, rows, rows,
                         relpos::log_n{512});
}
