// The code of docs/extending.md.
#include <relpos/views.hpp>

#include <algorithm>
#include <cmath>

using namespace relpos;

const relative_bias logarithmic{[](index_t head, index_t distance) {
  return -0.5 * static_cast<double>(head + 1) * std::log1p(std::abs(static_cast<double>(distance)));
}};
struct clipped {
  float slope, reach;
  template <class Real>  // double, float or a pack
  constexpr Real bias(Real distance) const {
    return Real(-slope) * min(abs(distance), Real(reach));
  }
};

struct chunked {  // a query sees its own chunk
  index_t chunk;
  constexpr key_range visible_keys(index_t q_pos) const {
    return {floor_div(q_pos, chunk) * chunk, q_pos + 1};
  }
};
struct dilated {  // every step-th key
  index_t step;
  constexpr bool keep(index_t q_pos, index_t k_pos) const {
    return k_pos <= q_pos && (q_pos - k_pos) % step == 0;
  }
  constexpr tile_class classify(const tile& of) const {  // without it, all tiles are partial
    return of.last_query <= of.first_key ? tile_class::skip : tile_class::partial;
  }
};

struct position_step {
  index_t boundary;
  float factor;
  float logit_factor(index_t q_pos) const { return q_pos < boundary ? 1.0f : factor; }
};

using tensor = view<const float, 4>;

status call(workspace memory, view<float, 4> out, view<double, 4> exact, tensor q, tensor k,
            tensor v) {
  const chunked chunk{64};
  const position_step step{8192, 1.25f};
  if (status done = attention(serial(), memory, out, q, k, v, logarithmic, chunk, step); !done) {
    return done;
  }
  return reference_attention(exact, {}, q, k, v, clipped{0.5f, 9.0f}, dilated{2});
}
