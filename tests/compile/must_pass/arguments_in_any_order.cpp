#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

void call(tensor& out, Eigen::Tensor<float, 3, Eigen::RowMajor>& lse, const tensor& q,
          const tensor& k, const tensor& v, const Eigen::VectorXf& slopes) {
  const Eigen::DefaultDevice device;
  const relpos::options options{.softcap = 30.f, .lse = lse};
  relpos::attention(device, out, q, k, v);
  relpos::attention(device, out, q, k, v, options);
  relpos::attention(device, out, q, k, v, options, relpos::alibi{slopes}, relpos::causal{});
  relpos::attention(device, out, q, k, v, relpos::causal{}, options, relpos::alibi{slopes});
  relpos::attention(device, out, q, k, v, relpos::causal{}, relpos::alibi{slopes}, options);
}
