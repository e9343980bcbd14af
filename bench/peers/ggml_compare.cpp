// relpos as a node of a ggml graph against ggml's own nodes, causal, on one thread:
//
//   ggml flash      flash_attn_ext, with a mask of float16
//   ggml soft_max   mul_mat, soft_max_ext and mul_mat, with a mask of float32 and values in columns
//
// Masks are made beforehand. Each result is verified against the float64 reference.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/candidate.hpp"
#include "bench/interleaved.hpp"
#include "bench/sections.hpp"
#include "examples/ggml_operator/ggml_attention.hpp"
#include "examples/ggml_operator/relpos_attention.hpp"

namespace relpos::bench {
namespace {

constexpr int heads = 8;

struct workload {
  std::string name;
  int n, n_kv, head_dim;
  ggml_type type;
};

std::vector<float> floats_of(const ggml_tensor* tensor) {
  std::vector<float> result(static_cast<std::size_t>(ggml_nelements(tensor)));
  if (tensor->type == GGML_TYPE_F32) {
    std::copy_n(static_cast<const float*>(tensor->data), result.size(), result.begin());
  } else {
    ggml_get_type_traits(tensor->type)
        ->to_float(tensor->data, result.data(), ggml_nelements(tensor));
  }
  return result;
}

/// One computation, over tensors of its own with the same numbers as all: none finds in the caches
/// of the processor what the one before has read.
struct contender {
  std::string name;
  double allowed_error;
  std::unique_ptr<graph> owner = std::make_unique<graph>(768);
  ggml_tensor *q, *k, *v;
  std::unique_ptr<graph::plan> computation{};

  contender(const char* title, double allowed, const workload& work)
      : name(title),
        allowed_error(allowed),
        q(owner->normal(GGML_TYPE_F32, {work.head_dim, work.n, heads, 1}, 1)),
        k(owner->normal(work.type, {work.head_dim, work.n_kv, heads, 1}, 2)),
        v(owner->normal(work.type, {work.head_dim, work.n_kv, heads, 1}, 3)) {}

  void compute(ggml_tensor* out) { computation = std::make_unique<graph::plan>(*owner, out, 1); }
};

/// ggml's decode over float16 sums in float16.
double allowed_error_of_flash(const workload& work) {
  if (work.type == GGML_TYPE_F32) return 1e-4;
  return work.n == 1 ? 2e-2 : 1e-3;
}

template <class... Policies>
void compare(const effort& how, report& to, const workload& work, const std::string& encoding,
             const score_terms& terms, const Policies&... policies) {
  relpos_plan plan(1);
  const options opts{.scale = terms.scale};
  std::vector<contender> contenders;
  contenders.emplace_back("relpos", 1e-5, work);
  contenders.emplace_back("ggml flash", allowed_error_of_flash(work), work);
  contenders.emplace_back("ggml soft_max", work.type == GGML_TYPE_F32 ? 1e-4 : 1e-2, work);

  const contender& ours = contenders[0];
  ggml_tensor *const q = ours.q, *const k = ours.k, *const v = ours.v;
  contenders[0].compute(relpos_attention(ours.owner->context(), plan, q, k, v, opts, policies...));
  const contender& flash = contenders[1];
  contenders[1].compute(flash_attention(*flash.owner, flash.q, flash.k, flash.v, terms));
  const contender& products = contenders[2];
  ggml_tensor* const columns =
      ggml_new_tensor_3d(products.owner->context(), work.type, work.n_kv, work.head_dim, heads);
  graph::plan(*products.owner,
              ggml_cpy(products.owner->context(),
                       ggml_transpose(products.owner->context(), products.v), columns),
              1)
      .compute();
  contenders[2].compute(
      soft_max_attention(*products.owner, products.q, products.k, columns, terms));

  const std::vector<float> q_data = floats_of(q), k_data = floats_of(k), v_data = floats_of(v);
  const std::array<index_t, 4> rows{1, heads, work.n, work.head_dim};
  const std::array<index_t, 4> key_rows{1, heads, work.n_kv, work.head_dim};
  std::vector<std::function<void()>> turn_takers;
  for (const contender& each : contenders) {
    graph::plan& computation = *each.computation;
    if (!computation.compute() || !plan.status()) fail(each.name + ": " + plan.status().message);
    const std::vector<float> out = computation.numbers();
    const view<const float, 4> result(out.data(), rows,
                                      {0, work.head_dim, heads * work.head_dim, 1});
    check_error(each.name + ", " + work.name + ", " + encoding,
                largest_error(result, {q_data.data(), rows}, {k_data.data(), key_rows},
                              {v_data.data(), key_rows}, opts, policies...),
                each.allowed_error);
    turn_takers.emplace_back([&computation] { computation.compute(); });
  }

  const auto seconds = interleaved_seconds(turn_takers, how.turns, 50);
  measurement found{.head_dim = work.head_dim,
                    .length = work.n_kv,
                    .encoding = encoding,
                    .setting = work.name,
                    .workspace_bytes = plan.workspace_bytes()};
  for (std::size_t i = 1; i < contenders.size(); ++i) {
    found.speedup[contenders[i].name] = seconds[i] / seconds[0];
  }
  to.add(found);
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    std::printf("%s%s %.3f ms", i == 0 ? "    " : ", ", contenders[i].name.c_str(),
                1e3 * seconds[i]);
  }
  std::printf("\n");
}

void compare_encodings(const effort& how, report& to, const workload& work) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(work.head_dim));
  compare(how, to, work, "none", {.scale = scale}, causal{});

  const std::vector<float> slopes = alibi_slopes(heads);
  compare(how, to, work, "alibi", {.scale = scale, .max_bias = 8.0f}, alibi{slopes}, causal{});

  std::vector<float> table;
  for (int i = 0; i < 32 * heads; ++i) {
    table.push_back(static_cast<float>(std::sin(1.7 * i)));
  }
  const auto bias = [&](int head, int distance) {
    return table[static_cast<std::size_t>(t5_bucket_of_past(distance) * heads + head)];
  };
  compare(how, to, work, "t5", {.scale = scale, .bias = bias}, t5_bias{table, unidirectional},
          causal{});
}

void ggml_graphs(const effort& how, report& to) {
  to.begin("graphs of ggml, one core, 8 heads: median time of its nodes over the median of relpos",
           "keys and values");
  to.note(std::string("ggml ") + ggml_version());
  for (const int head_dim : {64, 128}) {
    for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16}) {
      const std::string name = ggml_type_name(type);
      compare_encodings(how, to, {"prefill, " + name, 2048, 2048, head_dim, type});
      compare_encodings(how, to, {"decode, " + name, 1, 8192, head_dim, type});
    }
  }
}

}  // namespace
}  // namespace relpos::bench

int main(int count, char** values) {
  return relpos::bench::run_sections(count, values, {relpos::bench::ggml_graphs});
}
