// Prefill in chunks: its time over the time of one call. A ragged batch on two threads: its
// fraction of the peak over the fraction that a batch of equal lengths with the same work reaches.

#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "candidate.hpp"
#include "interleaved.hpp"
#include "sections.hpp"
#include "tensors.hpp"

namespace relpos::bench {
namespace {

constexpr index_t heads = 8;
constexpr index_t head_dim = 64;

measurement causal_ratio(const char* encoding, index_t length, double ratio) {
  return {.head_dim = head_dim,
          .length = length,
          .encoding = encoding,
          .setting = "causal",
          .ratio = ratio};
}

template <class... Policies>
void compare_chunks(const effort& how, report& to, const char* encoding,
                    const Policies&... policies) {
  const index_t length = how.quick ? 1536 : 8192;
  constexpr index_t chunk = 512;
  tensors t(heads, length, head_dim);
  const candidate whole = verified(encoding, "causal", t, {}, policies...);

  std::vector<float> keys(t.k_data.size()), values(t.k_data.size());
  std::vector<index_t> lengths{0};
  const contiguous_cache<float> cache{
      {view<float, 4>(keys.data(), t.k.shape), view<float, 4>(values.data(), t.k.shape)}, lengths};
  lengths[0] = length;  // the longest length, for which workspace is measured
  std::vector<std::byte> memory(
      workspace_bytes(serial(), t.q.slice(2, 0, chunk), cache, policies...));
  const auto in_chunks = [&] {
    lengths[0] = 0;
    for (index_t first = 0; first < length; first += chunk) {
      const status added = append(serial(), cache, t.k.slice(2, first, chunk),
                                  t.v.slice(2, first, chunk), policies...);
      if (!added) fail(added.message);
      const status done = attention(serial(), memory, t.out.slice(2, first, chunk),
                                    t.q.slice(2, first, chunk), cache, policies...);
      if (!done) fail(done.message);
    }
  };
  whole.run();
  const std::vector<float> expected = t.out_data;
  t.forget_outputs();
  in_chunks();
  if (std::memcmp(expected.data(), t.out_data.data(), expected.size() * sizeof(float)) != 0) {
    fail("prefill in chunks: the result differs from one call");
  }
  const auto seconds = interleaved_seconds({whole.run, in_chunks}, how.turns);
  to.add(causal_ratio(encoding, length, seconds[1] / seconds[0]));
}

/// Self-attention of sequences that lie one after another, with a thread for each of two workers.
class ragged_call {
 public:
  explicit ragged_call(const std::vector<index_t>& lengths) : starts_{0} {
    for (const index_t each : lengths) {
      starts_.push_back(starts_.back() + each);
      work_ += static_cast<double>(each) * static_cast<double>(each + 1);
    }
    tensors_ = std::make_unique<tensors>(heads, starts_.back(), head_dim);
    memory_.resize(
        workspace_bytes(runner_, tensors_->q, tensors_->k, tensors_->v, causal{}, how()));
  }

  double work() const { return work_; }

  void run() {
    tensors& t = *tensors_;
    const status done = attention(runner_, memory_, t.out, t.q, t.k, t.v, causal{}, how());
    if (!done) fail(done.message);
  }

  void verify() {
    tensors& t = *tensors_;
    t.forget_outputs();
    run();
    for (std::size_t i = 0; i + 1 < starts_.size(); i += 7) {
      const index_t first = starts_[i];
      const index_t count = starts_[i + 1] - first;
      check_error("ragged", largest_error(t.out.slice(2, first, count), t.q.slice(2, first, count),
                                          t.k.slice(2, first, count), t.v.slice(2, first, count),
                                          {}, causal{}));
    }
  }

 private:
  struct two_threads_loop {
    template <class RunItem>
    void operator()(index_t count, RunItem&& run_item) const {
      std::thread other([&] {
        if (count > 1) run_item(1);
      });
      if (count > 0) run_item(0);
      other.join();
    }
  };

  options how() const { return {.query_starts = starts_, .key_starts = starts_}; }

  on_loop<two_threads_loop> runner_{{}, 2};
  std::vector<index_t> starts_;
  double work_ = 0.0;
  std::unique_ptr<tensors> tensors_;
  std::vector<std::byte> memory_;
};

void compare_ragged(const effort& how, report& to) {
  constexpr index_t sequences = 64;
  std::mt19937 random(3);
  std::vector<index_t> lengths;
  double squares = 0.0;
  for (index_t i = 0; i < sequences; ++i) {
    const double uniform = static_cast<double>(random()) / 4294967296.0;
    lengths.push_back(static_cast<index_t>(std::exp2((how.quick ? 11.0 : 13.0) * uniform)));
    squares += static_cast<double>(lengths.back()) * static_cast<double>(lengths.back());
  }
  const auto equal = static_cast<index_t>(std::sqrt(squares / sequences));
  ragged_call ragged(lengths);
  ragged_call dense(std::vector<index_t>(sequences, equal));
  ragged.verify();
  dense.verify();
  const auto seconds =
      interleaved_seconds({[&] { ragged.run(); }, [&] { dense.run(); }}, how.quick ? 1 : 10);
  to.add(causal_ratio("none", equal, ragged.work() / seconds[0] / (dense.work() / seconds[1])));
}

}  // namespace

void serving_batches(const effort& how, report& to) {
  const std::vector<float> slopes = alibi_slopes(heads);
  const rotary_table rope(rope_frequencies(head_dim), pair_layout::half_split);
  to.begin("prefill in chunks of 512: time over the time of one call");
  compare_chunks(how, to, "none", causal{});
  compare_chunks(how, to, "alibi", alibi{slopes}, causal{});
  compare_chunks(how, to, "rope", rotary{rope}, causal{});
  if (std::thread::hardware_concurrency() < 2) return;
  to.begin("ragged batch on two threads: work per second over a batch of equal lengths");
  compare_ragged(how, to);
}

}  // namespace relpos::bench
