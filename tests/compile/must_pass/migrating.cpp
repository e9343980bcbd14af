// The code of docs/migrating.md.
#include <relpos/caches.hpp>
#include <relpos/views.hpp>

#include <span>
#include <vector>

using namespace relpos;

constexpr index_t batch = 2, heads = 4, rows = 6, all_rows = 9, d = 16;
const serial runner;

void layouts(const float* data) {
  // [batch, row, head, channel] in memory: flash-attn, JAX, ONNX with three axes, results of ggml.
  const relpos::view<const float, 4> q(data, {batch, heads, rows, d},
                                       {rows * heads * d, d, heads * d, 1});

  struct bool_mask {  // [query row, key row], true: takes part
    const bool* takes_part;
    relpos::index_t keys,
        first_query;  // columns; position of query row 0: query_offset, or Lk - Lq
    constexpr bool keep(relpos::index_t q_pos, relpos::index_t k_pos) const {
      return takes_part[(q_pos - first_query) * keys + k_pos];
    }
  };
  static_assert(policy<bool_mask>);
  static_cast<void>(q);
}

using tensor = view<const float, 4>;

void pytorch(workspace memory, view<float, 4> out, tensor q, tensor k, tensor v) {
  // before: F.scaled_dot_product_attention(q, k, v, is_causal=True)
  const relpos::status done = relpos::attention(runner, memory, out, q, k, v, relpos::causal{},
                                                relpos::options{.query_offset = 0});
  static_cast<void>(done);
}

void flashinfer(workspace memory, float* sums, view<float, 4> out, tensor q, tensor k, tensor v) {
  constexpr index_t n = 5;
  // before: single_prefill_with_kv_cache(q, k, v, causal=True, window_left=n, return_lse=True)
  const relpos::view<float, 3> lse(sums, {1, heads, rows},
                                   {rows * heads, 1, heads});  // natural, [row, head]
  const relpos::status done = relpos::attention(
      runner, memory, out, q, k, v, relpos::sliding_window{n + 1}, relpos::options{.lse = lse});
  static_cast<void>(done);
}

void flash_attn(workspace memory, view<float, 4> out, const half* data, view<const half, 4> k,
                view<const half, 4> v, std::span<const int> cu_q, std::span<const int> cu_k,
                float c) {
  constexpr index_t n = 5;
  // before: flash_attn_varlen_func(q, k, v, cu_q, cu_k, max_q, max_k, causal=True, window_size=(n, 0), softcap=c)
  const relpos::view<const relpos::half, 4> q(data, {1, heads, all_rows, d},
                                              {all_rows * heads * d, d, heads * d, 1});
  const relpos::status done =
      relpos::attention(runner, memory, out, q, k, v, relpos::sliding_window{n + 1},
                        relpos::options{.softcap = c, .query_starts = cu_q, .key_starts = cu_k});
  static_cast<void>(done);
}

void ggml(workspace memory, view<float, 4> out, tensor q, tensor k, tensor v, float scale,
          float softcap, double max_bias) {
  // before: ggml_flash_attn_ext(ctx, q, k, v, mask, scale, max_bias, softcap), with the mask of llama.cpp
  const auto slopes = relpos::alibi_slopes(heads, relpos::alibi_rule::interleaved, max_bias);
  const relpos::status done =
      relpos::attention(runner, memory, out, q, k, v, relpos::alibi{slopes}, relpos::causal{},
                        relpos::options{.scale = scale, .softcap = softcap});
  static_cast<void>(done);
}

void onnx(workspace memory, view<float, 4> out, tensor q, view<float, 4> k, view<float, 4> v,
          std::vector<relpos::index_t>& n) {
  // before: Attention(Q, K, V, nonpad_kv_seqlen=n), is_causal = 1
  const relpos::contiguous_cache<float> cache{{k, v}, n};  // n[b] keys in batch entry b, 64-bit
  const relpos::status done = relpos::attention(runner, memory, out, q, cache, relpos::causal{});
  static_cast<void>(done);
}
