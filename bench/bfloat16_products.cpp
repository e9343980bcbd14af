// bfloat16 keys and values, multiplied as floats and as bfloat16 numbers, beside float32 tensors.

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "candidate.hpp"
#include "sections.hpp"
#include "tensors.hpp"
#include "turns.hpp"

namespace relpos::bench {
namespace {

/// The same numbers in bfloat16, and as floats again, for the reference.
struct rounded_tensors {
  explicit rounded_tensors(const tensors& from)
      : out(from.out), q(round(from.q, 0)), k(round(from.k, 1)), v(round(from.v, 2)) {}

  view<const float, 4> wide(int i) const { return {wide_data[i].data(), q.shape}; }

  std::vector<bfloat16> data[3];
  std::vector<float> wide_data[3];
  view<float, 4> out;
  view<const bfloat16, 4> q, k, v;

 private:
  view<const bfloat16, 4> round(const view<const float, 4>& of, int i) {
    for (index_t at = 0; at < of.size(); ++at) {
      data[i].emplace_back(of.data[at]);
      wide_data[i].push_back(static_cast<float>(data[i].back()));
    }
    return {data[i].data(), of.shape};
  }
};

// Weights have 8 bits: twice the largest error seen on these tensors.
constexpr double largest_rounded_error = 2e-3;

template <class... Policies>
candidate verified_rounded(const char* encoding, rounded_tensors& t, arithmetic_type arithmetic,
                           const Policies&... policies) {
  const options opts{.arithmetic = arithmetic};
  std::vector<std::byte> memory(workspace_bytes(serial(), t.q, t.k, t.v, opts, policies...));
  const std::size_t bytes = memory.size();
  auto run = [&t, opts, memory = std::move(memory), ... policies = policies]() mutable {
    const status done = attention(serial(), memory, t.out, t.q, t.k, t.v, opts, policies...);
    if (!done) fail(done.message);
  };
  std::fill(t.out.data, t.out.data + t.out.size(), std::nanf(""));
  run();
  check_error(encoding, largest_error(t.out, t.wide(0), t.wide(1), t.wide(2), {}, policies...),
              arithmetic == arithmetic_type::float32 ? 1e-5 : largest_rounded_error);
  return {encoding, "causal", std::move(run), bytes};
}

template <class... Policies>
void compare(const char* encoding, index_t head_dim, index_t length, const effort& how, report& to,
             const Policies&... policies) {
  tensors t(8, length, head_dim);
  rounded_tensors rounded(t);
  const std::vector<candidate> candidates = {
      verified(encoding, "causal", t, {}, policies...),
      verified_rounded(encoding, rounded, arithmetic_type::float32, policies...),
      verified_rounded(encoding, rounded, arithmetic_type::bfloat16, policies...)};
  const timed_turns timed =
      take_turns(candidates, length < 4096 ? how.turns : std::min(how.turns, 5));
  const char* const settings[] = {"", "bfloat16 tensors", "bfloat16 products"};
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    to.add({.head_dim = head_dim,
            .length = length,
            .encoding = encoding,
            .setting = settings[i],
            .ratio = timed.seconds[0] / timed.seconds[i],
            .workspace_bytes = candidates[i].workspace_bytes});
  }
}

}  // namespace

void bfloat16_products(const effort& how, report& to) {
  to.begin("bfloat16, causal, one core, 8 heads: time of float32 tensors over theirs", "products");
  for (const index_t head_dim : {64, 128}) {
    const rotary_table table(rope_frequencies(head_dim), pair_layout::half_split);
    const std::vector<float> slopes(8, 0x1p-8f);  // no tile is left out
    for (const index_t length : {2048, how.quick ? 3000 : 8192}) {
      compare("none", head_dim, length, how, to, causal());
      if (length > 2048) continue;
      compare("alibi", head_dim, length, how, to, alibi{slopes}, causal());
      compare("rope", head_dim, length, how, to, rotary{table}, causal());
    }
  }
}

}  // namespace relpos::bench
