// expect: relpos: this argument is neither options nor a policy: a policy is a trivially copyable struct with rotations
#include <relpos/views.hpp>

struct misspelt {
  relpos::key_range visible_key(relpos::index_t q_pos) const { return {0, q_pos}; }
};

relpos::status call(relpos::workspace memory, relpos::view<float, 4> out,
                    relpos::view<const float, 4> in) {
  return relpos::attention(relpos::serial{}, memory, out, in, in, in, misspelt{});
}
