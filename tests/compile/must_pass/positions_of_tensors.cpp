// Positions of tokens are tensors of 64-bit integers, with or without axes; data of masks is any
// vector of them.
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
using positions = Eigen::Tensor<relpos::index_t, 2, Eigen::RowMajor>;
using axes = Eigen::Tensor<relpos::index_t, 3, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v, const relpos::rotary& rope,
            const positions& of_queries, const positions& of_keys,
            const std::vector<relpos::index_t>& starts) {
  return relpos::attention(q, k, v, rope, relpos::token_positions{of_queries, of_keys},
                           relpos::documents{starts, relpos::blockwise_causal{64}});
}
tensor call(const tensor& q, const tensor& k, const tensor& v, const relpos::rotary& mrope,
            const axes& both, const std::vector<relpos::index_t>& counts) {
  return relpos::attention(q, k, v, mrope, relpos::token_positions{both, both}, relpos::causal{},
                           relpos::left_padding{counts});
}
