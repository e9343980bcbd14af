// expect: relpos: this logit scaling needs the number of keys that a query sees, which masks with `visible_keys` have, and masks with `keep` and selected keys do not
#include <relpos/relpos.hpp>

using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;

tensor call(const tensor& q, const tensor& k, const tensor& v) {
  return relpos::attention(q, k, v, relpos::log_n{512},
                           relpos::either{relpos::band{255, 0}, relpos::sinks{4}});
}
