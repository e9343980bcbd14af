// expect: relpos: tensors are Eigen::Tensor or Eigen::TensorMap; evaluate an expression first
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

void call(const relpos::partial_state& state, const tensor& q, const tensor& k, const tensor& v) {
  relpos::partial(Eigen::DefaultDevice(), state, q, k * 2.0f, v,
                  relpos::options{.query_offset = 0});
}
