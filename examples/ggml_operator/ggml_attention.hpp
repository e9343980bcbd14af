#pragma once
// Attention as ggml itself computes it, by two ways, from masks and biases that are written here by
// their definitions. Nothing here is relpos.

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

#include "graph.hpp"

/// The score of a query at position q and a key at position k, for head h:
///
///   softcap tanh(scale q.k / softcap) + slope_h (k - q) + bias(h, k - q), if visible(q, k)
struct score_terms {
  float scale = 0.125f;
  float max_bias = 0.0f;  // 0: no slopes; else ggml derives them from it
  float softcap = 0.0f;   // 0: none
  std::function<float(int head, int distance)> bias{};
  std::function<bool(int q_pos, int k_pos)> visible = [](int q_pos, int k_pos) {
    return k_pos <= q_pos;
  };
  std::vector<float> sinks{};  // a logit per head, or empty
};

inline constexpr float hidden = -std::numeric_limits<float>::infinity();

/// The mask [n_kv, n] that ggml adds, for queries that are the last rows of the keys: 0, or k - q
/// where ggml multiplies it by slopes; -inf hides.
inline std::vector<float> mask_of(const score_terms& terms, std::int64_t n_kv, std::int64_t n) {
  std::vector<float> mask;
  for (int q = static_cast<int>(n_kv - n); q < n_kv; ++q) {
    for (int k = 0; k < n_kv; ++k) {
      const float seen = terms.max_bias > 0.0f ? static_cast<float>(k - q) : 0.0f;
      mask.push_back(terms.visible(q, k) ? seen : hidden);
    }
  }
  return mask;
}

/// The bias [n_kv, n, heads], with the mask in it.
inline std::vector<float> bias_of(const score_terms& terms, std::int64_t n_kv, std::int64_t n,
                                  std::int64_t heads) {
  std::vector<float> bias;
  for (int head = 0; head < heads; ++head) {
    for (int q = static_cast<int>(n_kv - n); q < n_kv; ++q) {
      for (int k = 0; k < n_kv; ++k) {
        bias.push_back(terms.visible(q, k) ? terms.bias(head, k - q) : hidden);
      }
    }
  }
  return bias;
}

/// The values of v [d_v, n_kv, key heads, batch] in columns, as soft_max_attention takes them.
inline ggml_tensor* columns_of(const graph& owner, ggml_tensor* v) {
  return ggml_cont(owner.context(), ggml_transpose(owner.context(), v));
}

/// mul_mat, soft_max_ext, mul_mat, as llama.cpp does without flash attention: `columns`
/// [n_kv, d_v, key heads, batch] are the values, transposed. Products of 16-bit keys and values
/// round the other factor to 16 bits. Scores become weights in place, as ggml's allocator of graphs
/// has it. Returns [d_v, heads, n, batch].
inline ggml_tensor* soft_max_attention(const graph& owner, ggml_tensor* q, ggml_tensor* k,
                                       ggml_tensor* columns, const score_terms& terms) {
  ggml_context* const ctx = owner.context();
  const std::int64_t n = q->ne[1], heads = q->ne[2], n_kv = k->ne[1];
  ggml_tensor* scores = ggml_mul_mat(ctx, k, q);
  float scale = terms.scale;
  if (terms.softcap > 0.0f) {
    scores = ggml_tanh_inplace(ctx, ggml_scale_inplace(ctx, scores, scale / terms.softcap));
    scores = ggml_scale_inplace(ctx, scores, terms.softcap);
    scale = 1.0f;
  }
  if (terms.bias) {
    ggml_tensor* const bias =
        owner.tensor(GGML_TYPE_F32, {n_kv, n, heads, 1}, bias_of(terms, n_kv, n, heads));
    scores = ggml_add_inplace(ctx, ggml_scale_inplace(ctx, scores, scale), bias);
    scale = 1.0f;
  }
  ggml_tensor* const mask = owner.tensor(GGML_TYPE_F32, {n_kv, n, 1, 1}, mask_of(terms, n_kv, n));
  ggml_tensor* const weights = ggml_soft_max_ext_inplace(ctx, scores, mask, scale, terms.max_bias);
  if (!terms.sinks.empty()) {
    ggml_soft_max_add_sinks(weights, owner.tensor(GGML_TYPE_F32, {heads, 1, 1, 1}, terms.sinks));
  }
  return ggml_cont(ctx, ggml_permute(ctx, ggml_mul_mat(ctx, columns, weights), 0, 2, 1, 3));
}

/// flash_attn_ext. A bias of head and distance goes into a mask of float16 for each head.
inline ggml_tensor* flash_attention(const graph& owner, ggml_tensor* q, ggml_tensor* k,
                                    ggml_tensor* v, const score_terms& terms) {
  const std::int64_t n = q->ne[1], heads = q->ne[2], n_kv = k->ne[1];
  ggml_tensor* const mask =
      terms.bias ? owner.tensor(GGML_TYPE_F16, {n_kv, n, heads, 1}, bias_of(terms, n_kv, n, heads))
                 : owner.tensor(GGML_TYPE_F16, {n_kv, n, 1, 1}, mask_of(terms, n_kv, n));
  ggml_tensor* const out = ggml_flash_attn_ext(owner.context(), q, k, v, mask, terms.scale,
                                               terms.max_bias, terms.softcap);
  if (!terms.sinks.empty()) {
    ggml_flash_attn_ext_add_sinks(out, owner.tensor(GGML_TYPE_F32, {heads, 1, 1, 1}, terms.sinks));
  }
  return out;
}

/// The bucket of a distance that T5 gives to past keys, of 32 up to a distance of 128 (Raffel et
/// al., arXiv 1910.10683): 16 of one distance each, then 16 whose width grows as its logarithm.
inline int t5_bucket_of_past(int distance) {
  const int past = distance < 0 ? -distance : 0;
  if (past < 16) return past;
  const double share = std::log(past / 16.0) / std::log(128.0 / 16.0);
  const int bucket = 16 + static_cast<int>(share * 16.0);
  return bucket < 32 ? bucket : 31;
}
