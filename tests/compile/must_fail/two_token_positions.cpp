// expect: relpos: the positions of the tokens are given twice
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v, const relpos::rotary& rope,
            const relpos::token_positions& at) {
  return relpos::attention(q, k, v, rope, at, at);
}
