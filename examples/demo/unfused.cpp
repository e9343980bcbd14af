#include "unfused.hpp"

#include <type_traits>

namespace demo {

void unfused_attention::operator()(tensor& out, const projections& in) {
  const Eigen::Index length = scores_.rows();
  const auto rows = [&](auto& of, int head) {
    using pointer = decltype(of.data());
    using mapped =
        std::conditional_t<std::is_const_v<std::remove_pointer_t<pointer>>, const matrix, matrix>;
    return Eigen::Map<mapped>(of.data() + head * length * head_dim, length, head_dim);
  };
  for (int head = 0; head < heads; ++head) {
    scores_.noalias() = scale_ * (rows(in.q, head) * rows(in.k, head).transpose());
    scores_ += biases_[static_cast<std::size_t>(head)];
    // Row by row, so that a row is in cache for all three steps.
    for (Eigen::Index i = 0; i < length; ++i) {
      auto row = scores_.row(i).array();
      row = (row - row.maxCoeff()).exp();
      row *= 1.0f / row.sum();
    }
    rows(out, head).noalias() = scores_ * rows(in.v, head);
  }
}

std::size_t unfused_attention::bytes() const {
  return (biases_.size() + 1) * static_cast<std::size_t>(scores_.size()) * sizeof(float);
}

}  // namespace demo
