// A bias of one's own that is computed in the loop, by vectors.
#include <relpos/relpos.hpp>

using relpos::max;  // of doubles too, for the reference
using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

struct clipped_alibi {
  relpos::borrowed_data slopes;
  float reach;

  struct head_bias {
    float slope, reach;
    template <class Real>
    Real bias(Real distance) const {
      return slope * max(distance, Real(-reach));
    }
  };
  head_bias bind(relpos::index_t head) const { return {slopes.data[head], reach}; }
};

tensor call(const tensor& q, const tensor& k, const tensor& v, const Eigen::VectorXf& slopes) {
  return relpos::attention(q, k, v, clipped_alibi{slopes, 64.0f}, relpos::causal{});
}
