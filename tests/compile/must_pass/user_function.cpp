// A bias of one's own from a scalar function of (head, distance).
#include <relpos/relpos.hpp>

#include <cmath>
#include <vector>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor kerple(const tensor& q, const tensor& k, const tensor& v, const std::vector<float>& p,
              const std::vector<float>& a) {
  const relpos::relative_bias log_kernel{[&](relpos::index_t head, relpos::index_t distance) {
    const auto h = static_cast<std::size_t>(head);
    return -p[h] * std::log1p(a[h] * std::abs(static_cast<float>(distance)));
  }};
  return relpos::attention(q, k, v, log_kernel, relpos::causal{});
}
