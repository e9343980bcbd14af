#pragma once
// One head of a call as Eigen's matrices.

#include <Eigen/Core>
#include <cmath>

#include "peer.hpp"

namespace relpos::bench {

using matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

struct head {
  Eigen::Map<const matrix> q, k, v;
  Eigen::Map<matrix> out;
  const float* bias;

  head(const peer_call& call, index_t at)
      : q(rows(call.q, at)),
        k(rows(call.k, at)),
        v(rows(call.v, at)),
        out(&call.out(0, at, 0, 0), length(), v.cols()),
        bias(call.bias ? call.bias + at * length() * length() : nullptr) {}

  index_t length() const { return q.rows(); }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(q.cols())); }

 private:
  static Eigen::Map<const matrix> rows(const view<const float, 4>& of, index_t at) {
    return {&of(0, at, 0, 0), of.shape[2], of.shape[3]};
  }
};

}  // namespace relpos::bench
