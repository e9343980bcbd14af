// A generation loop: two sequences of different length in one batch, prompts prefilled in chunks,
// then one token after another, over a cache of bfloat16 pages. Every encoding is checked against
// one call over all tokens, in float32.

#include <relpos/views.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

using namespace relpos;

namespace {

constexpr index_t heads = 8, key_heads = 2, head_dim = 64;
constexpr index_t chunk = 256, page_rows = 16, generated = 128;
const std::vector<index_t> prompts{900, 350};

void check(const status& done) {
  if (done) return;
  std::fprintf(stderr, "%s\n", done.message);
  std::exit(1);
}

/// Rows [head, position, channel] of one sequence.
struct rows {
  explicit rows(index_t head_count)
      : count(head_count), data(static_cast<std::size_t>(count * capacity * head_dim)) {}

  static constexpr index_t capacity = 1200;
  index_t count;
  std::vector<float> data;

  view<float, 4> of(index_t first, index_t length) {
    return view<float, 4>(data.data(), {1, count, capacity, head_dim}).slice(2, first, length);
  }
};

/// A stand-in for a model: the projections of a token, computed from its number and from the
/// attention output of the token before.
struct sequence {
  rows q{heads}, k{key_heads}, v{key_heads}, out{heads}, expected{heads};

  void project(index_t token) {
    const auto fill = [&](rows& of, double frequency) {
      for (index_t head = 0; head < of.count; ++head) {
        for (index_t c = 0; c < head_dim; ++c) {
          const double before = token == 0 ? 0.0 : out.of(token - 1, 1)(0, head, 0, c);
          const auto at = static_cast<double>((token * 37 + head * 11) * head_dim + c);
          of.of(token, 1)(0, head, 0, c) = static_cast<float>(std::sin(frequency * at + before));
        }
      }
    };
    fill(q, 0.71);
    fill(k, 0.37);
    fill(v, 1.13);
  }
};

/// Rows of several sequences, one after another, as a ragged batch takes them.
struct ragged_rows {
  index_t count;
  std::vector<float> data{};

  view<float, 4> resize(index_t length) {
    data.resize(static_cast<std::size_t>(count * length * head_dim));
    return {data.data(), {1, count, length, head_dim}};
  }
};

void copy(const view<float, 4>& from, const view<float, 4>& to) {
  for (index_t head = 0; head < from.shape[1]; ++head) {
    for (index_t row = 0; row < from.shape[2]; ++row) {
      std::copy_n(from.address(0, head, row, 0), head_dim, to.address(0, head, row, 0));
    }
  }
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class... Policies>
bool generate(const char* encoding, const Policies&... policies) {
  const auto batch = static_cast<index_t>(prompts.size());
  std::vector<sequence> sequences(prompts.size());

  constexpr index_t pages = 150;
  std::vector<bfloat16> keys(static_cast<std::size_t>(pages * key_heads * page_rows * head_dim));
  std::vector<bfloat16> values(keys.size());
  std::vector<std::int32_t> blocks(static_cast<std::size_t>(batch * pages));
  std::vector<index_t> lengths(prompts.size());
  page_pool pool(pages);
  const paged_cache<bfloat16> cache{
      {view<bfloat16, 4>(keys.data(), {pages, key_heads, page_rows, head_dim}),
       view<bfloat16, 4>(values.data(), {pages, key_heads, page_rows, head_dim})},
      lengths,
      {view<std::int32_t, 2>(blocks.data(), {batch, pages})}};

  ragged_rows q{heads}, k{key_heads}, v{key_heads}, out{heads};
  std::vector<std::byte> memory;
  // Appends the next fresh[i] rows of each sequence i and attends to them. Returns seconds.
  const auto step = [&](const std::vector<index_t>& fresh) {
    std::vector<index_t> starts{0};
    for (const index_t each : fresh) starts.push_back(starts.back() + each);
    const auto of_q = q.resize(starts.back()), of_k = k.resize(starts.back()),
               of_v = v.resize(starts.back()), of_out = out.resize(starts.back());
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      const auto at = static_cast<index_t>(i);
      check(pool.reserve(cache, at, lengths[i] + fresh[i]));
      copy(sequences[i].q.of(lengths[i], fresh[i]), of_q.slice(2, starts[i], fresh[i]));
      copy(sequences[i].k.of(lengths[i], fresh[i]), of_k.slice(2, starts[i], fresh[i]));
      copy(sequences[i].v.of(lengths[i], fresh[i]), of_v.slice(2, starts[i], fresh[i]));
    }
    const double begin = seconds();
    check(append(serial{}, cache, of_k, of_v, policies..., options{.key_starts = starts}));
    const options ragged{.query_starts = starts};
    const auto call = prepare(serial{}, of_out, of_q, cache, policies..., ragged);
    memory.resize(call.workspace_bytes());
    check(call.run(serial{}, memory));
    const double took = seconds() - begin;
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      copy(of_out.slice(2, starts[i], fresh[i]),
           sequences[i].out.of(lengths[i] - fresh[i], fresh[i]));
    }
    return took;
  };

  for (std::size_t i = 0; i < prompts.size(); ++i) {
    for (index_t token = 0; token < prompts[i]; ++token) sequences[i].project(token);
  }
  double prefill = 0.0;
  while (lengths != prompts) {
    std::vector<index_t> fresh(prompts.size());
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      fresh[i] = std::min(chunk, prompts[i] - lengths[i]);
    }
    prefill += step(fresh);
  }
  double decode = 0.0;
  for (index_t token = 0; token < generated; ++token) {
    for (std::size_t i = 0; i < prompts.size(); ++i) sequences[i].project(lengths[i]);
    decode += step(std::vector<index_t>(prompts.size(), 1));
  }

  double largest = 0.0;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    sequence& of = sequences[i];
    const index_t all = prompts[i] + generated;
    const auto call = prepare(serial{}, of.expected.of(0, all), of.q.of(0, all), of.k.of(0, all),
                              of.v.of(0, all), policies...);
    memory.resize(call.workspace_bytes());
    check(call.run(serial{}, memory));
    for (index_t head = 0; head < heads; ++head) {
      for (index_t row = 0; row < all; ++row) {
        for (index_t c = 0; c < head_dim; ++c) {
          const double difference =
              of.out.of(0, all)(0, head, row, c) - of.expected.of(0, all)(0, head, row, c);
          largest = std::max(largest, std::abs(difference));
        }
      }
    }
  }
  const auto prompt_rows = static_cast<double>(prompts[0] + prompts[1]);
  std::printf("%-10s %9.0f %9.0f %11.4f\n", encoding, prompt_rows / prefill,
              static_cast<double>(batch * generated) / decode, largest);
  // Keys, values and their rotation are rounded to 8 bits.
  return largest < 0.03;
}

}  // namespace

int main() {
  const std::vector<float> slopes = alibi_slopes(heads);
  std::vector<float> table(static_cast<std::size_t>(32 * heads));
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<float>(std::sin(0.9 * double(i)));
  const rotary_table rope(rope_frequencies(head_dim), pair_layout::half_split);
  const rotary_table xpos(xpos_frequencies(head_dim), pair_layout::interleaved);
  const causal mask;

  std::printf(
      "tokens per second of one layer, one thread; largest difference from one call\n"
      "%-10s %9s %9s %11s\n",
      "encoding", "prefill", "decode", "difference");
  bool right = generate("none", mask);
  right = generate("ALiBi", alibi{slopes}, mask) && right;
  right = generate("T5", t5_bias{table, unidirectional}, mask) && right;
  right = generate("RoPE", rotary{rope}, mask) && right;
  right = generate("XPOS", rotary{xpos}, mask) && right;
  return right ? 0 : 1;
}
