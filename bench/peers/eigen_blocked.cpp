#include "eigen_blocked.hpp"

#include <memory>

#include "causal_blocks.hpp"
#include "eigen_version.hpp"

namespace relpos::bench {
namespace {

std::function<void()> prepare(const peer_call& call) {
  const auto workspace = std::make_shared<matrix>(block_workspace(call));
  return [=] {
    attend_by_blocks(
        call, *workspace,
        [](const head& of, index_t first, auto& block) {
          const auto queries = of.q.middleRows(first, block.rows());
          block.noalias() = (of.scale() * queries) * of.k.topRows(block.cols()).transpose();
        },
        [](const head& of, const auto& block, auto& out) {
          out.noalias() = block * of.v.topRows(block.cols());
        });
  };
}

}  // namespace

peer eigen_blocked() { return {"eigen_blocked", eigen_version(), "", prepare}; }

}  // namespace relpos::bench
