#include "unfused.hpp"

#include <type_traits>

namespace demo {
namespace {

template <class Rows>
matrix rotated(const Rows& rows, const matrix& cosines, const matrix& sines) {
  constexpr int pairs = head_dim / 2;
  const auto a = rows.leftCols(pairs).array();
  const auto b = rows.rightCols(pairs).array();
  matrix result(rows.rows(), rows.cols());
  result.leftCols(pairs) = a * cosines.array() - b * sines.array();
  result.rightCols(pairs) = a * sines.array() + b * cosines.array();
  return result;
}

}  // namespace

void unfused_attention::operator()(tensor& out, const projections& in) {
  const Eigen::Index length = scores_.rows();
  const auto rows = [&](auto& of, int head) {
    using pointer = decltype(of.data());
    using mapped =
        std::conditional_t<std::is_const_v<std::remove_pointer_t<pointer>>, const matrix, matrix>;
    return Eigen::Map<mapped>(of.data() + head * length * head_dim, length, head_dim);
  };
  for (int head = 0; head < heads; ++head) {
    if (rotors_) {
      const matrix q = rotated(rows(in.q, head), rotors_->query_cosines, rotors_->query_sines);
      const matrix k = rotated(rows(in.k, head), rotors_->key_cosines, rotors_->key_sines);
      scores_.noalias() = scale_ * (q * k.transpose());
    } else {
      scores_.noalias() = scale_ * (rows(in.q, head) * rows(in.k, head).transpose());
    }
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
  const auto of_rotation = rotors_ ? 4 * static_cast<std::size_t>(rotors_->key_sines.size()) : 0;
  const auto matrices = (biases_.size() + 1) * static_cast<std::size_t>(scores_.size());
  return (matrices + of_rotation) * sizeof(float);
}

}  // namespace demo
