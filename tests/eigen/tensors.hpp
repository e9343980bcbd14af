#pragma once
// Tensors for the Eigen form, their comparison bit by bit, and attention by definition.

#include <unsupported/Eigen/CXX11/Tensor>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "relpos/relpos.hpp"

namespace relpos_test {

template <class Scalar>
using tensor_of = Eigen::Tensor<Scalar, 4, Eigen::RowMajor>;
using tensor = tensor_of<float>;
using lse_tensor = Eigen::Tensor<float, 3, Eigen::RowMajor>;

template <class Scalar = float>
tensor_of<Scalar> random_tensor(Eigen::Index batch, Eigen::Index heads, Eigen::Index rows,
                                Eigen::Index channels, std::uint32_t seed) {
  tensor_of<Scalar> result(batch, heads, rows, channels);
  std::mt19937 bits(seed);
  for (Eigen::Index i = 0; i < result.size(); ++i) {
    result.data()[i] = static_cast<Scalar>(static_cast<float>(bits() >> 8) * 0x1p-23f - 1.0f);
  }
  return result;
}

template <class A, class B>
bool same_bits(const A& a, const B& b) {
  static_assert(std::is_same_v<std::remove_const_t<typename A::Scalar>,
                               std::remove_const_t<typename B::Scalar>>);
  for (int axis = 0; axis < A::NumDimensions; ++axis) {
    if (a.dimension(axis) != b.dimension(axis)) return false;
  }
  return std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(*a.data())) ==
         0;
}

/// q, k and v of a call with grouped heads and lengths that fill no tile.
struct tensors {
  tensor q = random_tensor(2, 4, 37, 8, 1);
  tensor k = random_tensor(2, 2, 150, 8, 2);
  tensor v = random_tensor(2, 2, 150, 6, 3);
  std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0625f};

  tensor empty_out() const { return tensor(2, 4, 37, 6); }
};

/// Causal attention with ALiBi, as their papers write it, in arithmetic of type Real.
template <class Real>
struct causal_alibi {
  Eigen::Tensor<Real, 4, Eigen::RowMajor> out;
  Eigen::Tensor<Real, 3, Eigen::RowMajor> lse;

  explicit causal_alibi(const tensors& given) : out(2, 4, 37, 6), lse(2, 4, 37) {
    out.setZero();
    for (Eigen::Index b = 0; b < 2; ++b) {
      for (Eigen::Index h = 0; h < 4; ++h) {
        for (Eigen::Index row = 0; row < 37; ++row) compute_row(given, b, h, row);
      }
    }
  }

 private:
  void compute_row(const tensors& given, Eigen::Index b, Eigen::Index h, Eigen::Index row) {
    const Eigen::Index q_pos = 150 - 37 + row;
    std::vector<Real> scores;
    Real largest = -std::numeric_limits<Real>::infinity();
    for (Eigen::Index key = 0; key <= q_pos; ++key) {
      Real score = 0;
      for (Eigen::Index c = 0; c < 8; ++c) {
        score +=
            static_cast<Real>(given.q(b, h, row, c)) * static_cast<Real>(given.k(b, h / 2, key, c));
      }
      score /= std::sqrt(Real(8));
      score += static_cast<Real>(given.slopes[static_cast<std::size_t>(h)]) *
               static_cast<Real>(key - q_pos);
      scores.push_back(score);
      largest = std::max(largest, score);
    }
    Real sum = 0;
    for (Eigen::Index key = 0; key <= q_pos; ++key) {
      const Real weight = std::exp(scores[static_cast<std::size_t>(key)] - largest);
      sum += weight;
      for (Eigen::Index c = 0; c < 6; ++c) {
        out(b, h, row, c) += weight * static_cast<Real>(given.v(b, h / 2, key, c));
      }
    }
    for (Eigen::Index c = 0; c < 6; ++c) out(b, h, row, c) /= sum;
    lse(b, h, row) = largest + std::log(sum);
  }
};

/// The largest |a - b|; infinite if one of them is not finite.
template <class A, class B>
double largest_error(const A& a, const B& b) {
  double largest = 0;
  for (Eigen::Index i = 0; i < a.size(); ++i) {
    const double error =
        std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i]));
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, error);
  }
  return largest;
}

}  // namespace relpos_test
