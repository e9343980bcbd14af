// Two threads against one. Each call starts its threads: the cost of a pool is not the library's.

#include <atomic>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "candidate.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"

namespace relpos::bench {
namespace {

struct two_workers {
  static constexpr index_t workers() { return 2; }

  template <class Item>
  static void run(index_t count, Item&& item) {
    std::atomic<index_t> next = 0;
    const auto work = [&](index_t worker) {
      for (index_t i = next++; i < count; i = next++) item(i, worker);
    };
    std::thread other(work, index_t{1});
    work(0);
    other.join();
  }
};

}  // namespace

void two_threads(const effort& how, report& to) {
  if (std::thread::hardware_concurrency() < 2) {
    std::printf("\ntwo threads: left out, this machine has one core\n");
    return;
  }
  to.begin("two threads");
  constexpr index_t heads = 8, length = 2048, head_dim = 64;
  tensors t(heads, length, head_dim);
  const std::vector<float> slopes = alibi_slopes(heads);
  const rotary_table table(rope_frequencies(head_dim), pair_layout::half_split);
  const causal mask;

  const auto compare = [&](const char* encoding, const auto&... policies) {
    const std::vector<candidate> candidates = {
        verified(encoding, "causal", t, {}, mask, policies...),
        verified_on(two_workers(), encoding, "causal", t, {}, mask, policies...),
    };
    candidates[0].run();
    const std::vector<float> alone = t.out_data;
    t.forget_outputs();
    candidates[1].run();
    if (std::memcmp(alone.data(), t.out_data.data(), alone.size() * sizeof(float)) != 0) {
      fail("two threads: the result differs from one thread");
    }
    const timed_turns timed = take_turns(candidates, how.turns);
    to.add({.head_dim = head_dim,
            .length = length,
            .encoding = encoding,
            .setting = "causal",
            .speedup = {{"one_thread", timed.seconds[0] / timed.seconds[1]}},
            .workspace_bytes = candidates[1].workspace_bytes});
  };
  compare("none");
  compare("alibi", alibi{slopes});
  compare("rope", rotary{table});
}

}  // namespace relpos::bench
