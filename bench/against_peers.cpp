// The time of libraries that users would otherwise pick, over the time of this library.

#include <algorithm>
#include <string>
#include <vector>

#include "candidate.hpp"
#include "peer.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"

namespace relpos::bench {
namespace {

/// The matrix [heads, length, length] that a caller without a fused bias builds, here before the
/// clock starts.
std::vector<float> bias_matrix(index_t heads, index_t length, const std::vector<float>& slopes) {
  std::vector<float> result(static_cast<std::size_t>(heads * length * length));
  float* at = result.data();
  for (index_t head = 0; head < heads; ++head) {
    const float slope = slopes[static_cast<std::size_t>(head)];
    for (index_t q_pos = 0; q_pos < length; ++q_pos) {
      for (index_t k_pos = 0; k_pos < length; ++k_pos) {
        *at++ = slope * static_cast<float>(k_pos - q_pos);
      }
    }
  }
  return result;
}

/// Times the library, and then the peers whose names are in `of`.
template <class... Policies>
void compare(const char* encoding, tensors& t, const std::vector<std::string>& of,
             const float* bias, const effort& how, report& to, const Policies&... policies) {
  std::vector<candidate> candidates = {verified(encoding, "causal", t, {}, causal(), policies...)};
  for (const peer& each : peers()) {
    if (!each.missing.empty() || std::find(of.begin(), of.end(), each.name) == of.end()) continue;
    const std::function<void()> run = each.prepare({t.q, t.k, t.v, t.out, bias});
    t.forget_outputs();
    run();
    check_error(each.name, largest_error(t.out, t.q, t.k, t.v, {}, causal(), policies...));
    candidates.push_back({each.name, "causal", run, 0});
  }
  const timed_turns timed = take_turns(candidates, how.turns);
  measurement found{.head_dim = t.q.shape[3],
                    .length = t.q.shape[2],
                    .encoding = encoding,
                    .setting = "causal",
                    .workspace_bytes = candidates[0].workspace_bytes};
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    found.speedup[candidates[i].encoding] = timed.seconds[i] / timed.seconds[0];
  }
  to.add(found);
}

}  // namespace

void against_peers(const effort& how, report& to) {
  to.begin("peers, one core each");
  for (const peer& each : peers()) {
    const bool there = each.missing.empty();
    to.note(each.name + " is " + each.component + (there ? "" : ", left out: ") + each.missing);
  }
  const std::vector<std::string> of_blocks = {"eigen_blocked", "openblas_blocked", "onednn"};
  for (const index_t head_dim : {64, 128}) {
    constexpr index_t heads = 2;
    constexpr index_t length = 2048;
    tensors t(heads, length, head_dim);
    const std::vector<float> slopes = alibi_slopes(8);
    // Under the last two of eight slopes no tile vanishes: the peers are compared on the bias.
    const std::vector<float> flat(slopes.end() - heads, slopes.end());
    const std::vector<float> bias = bias_matrix(heads, length, flat);
    compare("alibi", t, {"eigen_matrix", "eigen_blocked", "openblas_blocked"}, bias.data(), how, to,
            alibi{flat});
    compare("none", t, of_blocks, nullptr, how, to);
  }
  tensors t(1, 8192, 64);
  compare("none", t, of_blocks, nullptr, how, to);
}

}  // namespace relpos::bench
