// Decoding against a cache: the keys of a prompt are rotated and stored once, in pages of bfloat16,
// and every token adds one row.

#include <relpos/relpos.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

using namespace relpos;

namespace {

using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [sequence, head, row, channel]

Tensor waves(int heads, int rows, double frequency) {
  Tensor result(1, heads, rows, 64);
  for (int i = 0; i < result.size(); ++i) {
    result.data()[i] = static_cast<float>(std::sin(frequency * i));
  }
  return result;
}

}  // namespace

int main() {
  constexpr int heads = 8, key_heads = 2, pages = 20, prompt = 100, tokens = 40;
  const Eigen::DefaultDevice device;
  //! [cache]
  const rotary_table table(rope_frequencies(64), pair_layout::half_split);
  const rotary rope(table);

  Eigen::Tensor<Eigen::bfloat16, 4, Eigen::RowMajor> keys(pages, key_heads, 16, 64), values = keys;
  Eigen::Tensor<int, 2, Eigen::RowMajor> block_table(1, pages);  // [sequence, block]
  std::vector<index_t> lengths{0};
  const paged_cache<bfloat16> cache{{keys, values}, lengths, {block_table}};
  page_pool pool(pages);

  const auto step = [&](const Tensor& q, const Tensor& k, const Tensor& v) {
    throw_unless(pool.reserve(cache, 0, lengths[0] + k.dimension(2)));
    append(device, cache, k, v, rope);
    Tensor out(q.dimensions());
    attention(device, out, q, cache, rope, causal{});
    return out;
  };
  //! [cache]

  const auto rows = [&](int count) {
    return step(waves(heads, count, 0.7), waves(key_heads, count, 0.3),
                waves(key_heads, count, 1.1));
  };
  Tensor out = rows(prompt);
  for (int token = 0; token < tokens; ++token) out = rows(1);
  std::printf("%d tokens in %d of %d pages\n", static_cast<int>(lengths[0]),
              static_cast<int>(pages - pool.free_pages()), pages);
  return lengths[0] == prompt + tokens && std::isfinite(out(0, 0, 0, 0)) ? 0 : 1;
}
