// Speculative decoding: a tree of drafted tokens is verified behind a cache, in one call. A draft
// sees the cache, its ancestors and itself, and has the position that it will have in the text:
// siblings share one.

#include <relpos/relpos.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

using namespace relpos;

int main() {
  using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;       // [batch, head, row, channel]
  using Positions = Eigen::Tensor<index_t, 2, Eigen::RowMajor>;  // [batch, row]
  constexpr int heads = 8, cached = 300, head_dim = 64;
  // Two drafts of the next token, and two that follow each of them.
  const std::vector<index_t> parents{-1, -1, 0, 0, 1, 1};
  const int drafts = static_cast<int>(parents.size());

  const auto waves = [](int length, double frequency) {
    Tensor result(1, heads, length, head_dim);
    for (int i = 0; i < result.size(); ++i) {
      result.data()[i] = static_cast<float>(std::sin(frequency * i));
    }
    return result;
  };
  const Tensor q = waves(drafts, 0.53);
  const Tensor k = waves(cached + drafts, 0.71), v = waves(cached + drafts, 1.3);

  const std::vector<index_t> of_drafts = tree_positions(parents, cached);
  Positions of_queries(1, drafts), of_keys(1, cached + drafts);
  for (int row = 0; row < cached; ++row) of_keys(0, row) = row;
  for (int i = 0; i < drafts; ++i) {
    of_queries(0, i) = of_keys(0, cached + i) = of_drafts[static_cast<std::size_t>(i)];
  }

  const rotary_table rope(rope_frequencies(head_dim), pair_layout::half_split);
  const Tensor out =
      attention(q, k, v, rotary{rope}, tree{parents, cached}, token_positions{of_queries, of_keys});

  // The branch of drafts 1 and 5, decoded by itself.
  const auto rows = [](const Tensor& of, int first, int count) {
    return Tensor(of.slice(std::array<Eigen::Index, 4>{0, 0, first, 0},
                           std::array<Eigen::Index, 4>{1, heads, count, head_dim}));
  };
  const auto branch = [&](const Tensor& of, int before) {
    const Tensor drafted = rows(of, before + 1, 1).concatenate(rows(of, before + 5, 1), 2);
    return before == 0 ? drafted : Tensor(rows(of, 0, before).concatenate(drafted, 2));
  };
  const Tensor alone =
      attention(branch(q, 0), branch(k, cached), branch(v, cached), rotary{rope}, causal{});
  const Tensor together = branch(out, 0);
  float difference = 0.0f;
  for (int i = 0; i < alone.size(); ++i) {
    difference = std::max(difference, std::abs(alone.data()[i] - together.data()[i]));
  }
  std::printf("a branch in a tree of %d drafts, against the branch alone: %s\n", drafts,
              difference < 1e-5f ? "equal to 1e-5" : "different");
  return difference < 1e-5f ? 0 : 1;
}
