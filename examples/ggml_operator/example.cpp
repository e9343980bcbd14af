// A graph of ggml with attention by relpos: ALiBi, causal, keys and values in float16.

#include <ggml-cpu.h>
#include <ggml.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "relpos_attention.hpp"

int main() {
  constexpr int d = 64, heads = 8, key_heads = 2, n = 16, n_kv = 300, n_threads = 2;
  ggml_context* const ctx = ggml_init({16 << 20, nullptr, false});
  ggml_tensor* const q = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, d, n, heads);
  ggml_tensor* const k = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, d, n_kv, key_heads);
  ggml_tensor* const v = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, d, n_kv, key_heads);
  for (int i = 0; i < ggml_nelements(q); ++i) static_cast<float*>(q->data)[i] = 0.1f;
  for (int i = 0; i < ggml_nelements(k); ++i) {
    static_cast<ggml_fp16_t*>(k->data)[i] = ggml_fp32_to_fp16(0.1f);
    // A value is its position.
    static_cast<ggml_fp16_t*>(v->data)[i] = ggml_fp32_to_fp16(static_cast<float>(i / d % n_kv));
  }

  // The 16 queries are the last of the 300 positions.
  const std::vector<float> slopes = relpos::alibi_slopes(heads);
  relpos_plan plan(n_threads);
  ggml_tensor* const out =
      relpos_attention(ctx, plan, q, k, v, relpos::alibi{slopes}, relpos::causal{},
                       relpos::options{.scale = 1.0f / std::sqrt(float(d))});

  ggml_cgraph* const graph = ggml_new_graph(ctx);
  ggml_build_forward_expand(graph, out);
  ggml_graph_compute_with_ctx(ctx, graph, n_threads);
  if (!plan.status()) {
    std::fprintf(stderr, "%s\n", plan.status().message);
    return 1;
  }
  const auto position = [&](int head) { return ggml_get_f32_nd(out, 0, head, n - 1, 0); };
  std::printf("head 0 looks at position %.1f, head 7 at %.1f\n", position(0), position(7));
  ggml_free(ctx);
}
