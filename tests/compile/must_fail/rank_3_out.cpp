// expect: relpos: q, k, v and out have four axes: [batch, head, position, channel]
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
using rank_3_tensor = Eigen::Tensor<float, 3, Eigen::RowMajor>;

void call(rank_3_tensor& out, const tensor& q, const tensor& k, const tensor& v) {
  relpos::attention(Eigen::DefaultDevice(), out, q, k, v, relpos::causal{});
}
