#pragma once
// What a user would otherwise compose attention from: the installed linear algebra of others, each
// as fast as it gets without a kernel written by hand. Causal, float32, one thread.

#include <functional>
#include <string>
#include <vector>

#include "relpos/core/view.hpp"

namespace relpos::bench {

/// Contiguous tensors [1, heads, length, head_dim]; the scale is 1 / sqrt(head_dim).
struct peer_call {
  view<const float, 4> q, k, v;
  view<float, 4> out;
  const float* bias = nullptr;  // [heads, length, length], not masked; or none
};

struct peer {
  std::string name;
  std::string component;  // and its version
  std::string missing;    // why it is absent; empty if it is there

  /// A call that is ready to be timed: its primitives, workspace and mask are made. Of an absent
  /// peer there is none.
  std::function<std::function<void()>(const peer_call&)> prepare;
};

/// All of them, those that are absent too.
std::vector<peer> peers();

}  // namespace relpos::bench
