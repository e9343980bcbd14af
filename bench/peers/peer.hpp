#pragma once
// The peers: attention that a user would otherwise compose from other installed libraries of linear
// algebra, each as fast as possible without a kernel written by hand. Causal, float32, one thread.

#include <functional>
#include <string>
#include <vector>

#include "relpos/core/view.hpp"

namespace relpos::bench {

/// Contiguous tensors [1, heads, length, head_dim]; the scale is 1 / sqrt(head_dim).
struct peer_call {
  view<const float, 4> q, k, v;
  view<float, 4> out;
  const float* bias = nullptr;  // [heads, length, length], not masked; null for none
};

struct peer {
  std::string name;
  std::string component;  // the library and its version
  std::string missing;    // why it is absent; empty if it is there

  /// Returns a call that is ready to be timed: its primitives, workspace and mask are made. Empty
  /// for an absent peer.
  std::function<std::function<void()>(const peer_call&)> prepare;
};

/// All peers, including absent ones.
std::vector<peer> peers();

}  // namespace relpos::bench
