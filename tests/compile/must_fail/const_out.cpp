// expect: out is not const
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

void call(const tensor& out, const tensor& q, const tensor& k, const tensor& v) {
  relpos::attention(Eigen::DefaultDevice(), out, q, k, v, relpos::causal{});
}
