// User-defined encodings and masks. All run inside the fused loop.

#include <relpos/relpos.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

using namespace relpos;

namespace {

// ALiBi that stops growing at a distance, computed in the loop: `Real` is double, or a vector of
// floats.
struct clipped_alibi {
  borrowed_data slopes;
  float reach;

  struct head_bias {
    float slope, reach;
    template <class Real>
    Real bias(Real distance) const {
      return Real(-slope) * min(abs(distance), Real(reach));
    }
  };
  head_bias bind(index_t head) const { return {slopes.data[head], reach}; }
};

// A prompt that sees itself in both directions, and a continuation that is causal.
struct prefix_causal {
  index_t prompt;
  key_range visible_keys(index_t q_pos) const { return {0, std::max(q_pos + 1, prompt)}; }
};

}  // namespace

int main() {
  using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
  Tensor q(1, 4, 400, 64), k(1, 4, 400, 64), v(1, 4, 400, 64);
  for (int i = 0; i < q.size(); ++i) {
    q.data()[i] = static_cast<float>(std::sin(0.3 * i));
    k.data()[i] = static_cast<float>(std::cos(1.7 * i));
    v.data()[i] = static_cast<float>(std::sin(2.9 * i));
  }
  const std::vector<float> slopes = alibi_slopes(4);
  const prefix_causal mask{100};

  // The logarithmic bias of KERPLE, from a function that is evaluated once per head and distance.
  const auto kerple = [](index_t head, index_t distance) {
    const double power = 0.5 * static_cast<double>(head + 1);
    return -power * std::log1p(0.1 * std::abs(static_cast<double>(distance)));
  };
  const Tensor logarithmic = attention(q, k, v, relative_bias{kerple}, mask);

  // One encoding in both ways: tabulated and computed in the loop.
  const auto clipped = [&](index_t head, index_t distance) {
    const double steps = std::abs(static_cast<double>(distance));
    return -static_cast<double>(slopes[static_cast<std::size_t>(head)]) * std::min(steps, 64.0);
  };
  const Tensor tabulated = attention(q, k, v, relative_bias{clipped}, mask);
  const Tensor computed = attention(q, k, v, clipped_alibi{slopes, 64.0f}, mask);

  std::printf("kerple        out(0, 3, 399, 0) = %+.5f\n",
              static_cast<double>(logarithmic(0, 3, 399, 0)));
  std::printf("clipped alibi out(0, 3, 399, 0) = %+.5f\n",
              static_cast<double>(computed(0, 3, 399, 0)));

  float difference = 0.0f;
  for (int i = 0; i < computed.size(); ++i) {
    difference = std::max(difference, std::abs(computed.data()[i] - tabulated.data()[i]));
  }
  return difference < 1e-5f ? 0 : 1;
}
