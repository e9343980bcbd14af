#include "openblas_blocked.hpp"

#include <cblas.h>

#include <memory>
#include <string>

#include "causal_blocks.hpp"

namespace relpos::bench {
namespace {

/// c = alpha a b, or alpha a b^T.
template <class A, class B, class C>
void multiply(float alpha, const A& a, CBLAS_TRANSPOSE b_is, const B& b, C& c) {
  const auto extent = [](index_t of) { return static_cast<blasint>(of); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, b_is, extent(c.rows()), extent(c.cols()),
              extent(a.cols()), alpha, a.data(), extent(a.outerStride()), b.data(),
              extent(b.outerStride()), 0.0f, c.data(), extent(c.outerStride()));
}

std::function<void()> prepare(const peer_call& call) {
  openblas_set_num_threads(1);
  const auto workspace = std::make_shared<matrix>(block_workspace(call));
  return [=] {
    attend_by_blocks(
        call, *workspace,
        [](const head& of, index_t first, auto& block) {
          const auto queries = of.q.middleRows(first, block.rows());
          multiply(of.scale(), queries, CblasTrans, of.k.topRows(block.cols()), block);
        },
        [](const head& of, const auto& block, auto& out) {
          multiply(1.0f, block, CblasNoTrans, of.v.topRows(block.cols()), out);
        });
  };
}

/// OpenBLAS chooses its kernels when it is loaded, by OPENBLAS_CORETYPE if that is set.
std::string version() {
  const std::string configuration = openblas_get_config();  // OpenBLAS 0.3.21 and its options
  const auto end = configuration.find(' ', configuration.find(' ') + 1);
  return configuration.substr(0, end) + " for " + openblas_get_corename();
}

}  // namespace

peer openblas_blocked() { return {"openblas_blocked", version(), "", prepare}; }

}  // namespace relpos::bench
