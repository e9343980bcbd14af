// Tensors and maps, const or not, of three types, each its own.
#include <relpos/relpos.hpp>

template <class Scalar>
using tensor = Eigen::Tensor<Scalar, 4, Eigen::RowMajor>;

void call(tensor<float>& out, tensor<Eigen::half>& q, const tensor<Eigen::bfloat16>& k,
          float* values) {
  const Eigen::TensorMap<tensor<float>> v(values, 1, 2, 3, 4);
  const Eigen::TensorMap<const tensor<float>> constant(values, 1, 2, 3, 4);
  const Eigen::DefaultDevice device;
  relpos::attention(device, out, q, k, v);
  relpos::attention(device, Eigen::TensorMap<tensor<float>>(values, 1, 2, 3, 4), q, k, constant);
  const tensor<Eigen::half> returned = relpos::attention(q, k, v);
  static_cast<void>(returned);
}
