#pragma once
// relpos as an operator of ggml: a node of a graph, computed by ggml's own threads.
//
//   relpos_plan plan(n_threads);  // outlives the graph
//   ggml_tensor* out =
//       relpos_attention(ctx, plan, q, k, v, relpos::alibi{slopes}, relpos::causal{});
//   ...
//   ggml_graph_compute_with_ctx(ctx, graph, n_threads);
//   if (!plan.status()) std::fprintf(stderr, "%s\n", plan.status().message);
//
// There is no mask tensor: policies say what ggml's masks store.

#include <ggml.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <limits>
#include <memory>
#include <relpos/views.hpp>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

/// The common part of the relpos nodes of a graph: their policies, one workspace, as nodes run one
/// after the other, and one status. It must outlive the graph, and serves one computation at a time.
class relpos_plan {
 public:
  /// `threads`, at least 1, is the largest number of ggml's threads that compute a node; others
  /// wait. The workspace grows with it.
  explicit relpos_plan(int threads) : threads_(std::max(threads, 1)) {}
  relpos_plan(const relpos_plan&) = delete;
  relpos_plan& operator=(const relpos_plan&) = delete;

  /// Success, or the first refusal of a node since the last `reset`. ggml has no way to fail in the
  /// middle of a graph, so a refused node fills its tensor with NaN.
  const relpos::status& status() const { return status_; }
  void reset() { status_ = {}; }

  /// Frees the nodes of graphs that will not be computed again. The workspace stays.
  void forget_nodes() { nodes_.clear(); }

  std::size_t workspace_bytes() const { return workspace_.size(); }

 private:
  template <class... Arguments>
  friend ggml_tensor* relpos_attention(ggml_context*, relpos_plan&, ggml_tensor*, ggml_tensor*,
                                       ggml_tensor*, const Arguments&...);
  template <class... Arguments>
  class node;

  /// Returns when `members` threads have called it. ggml keeps its own barrier to itself.
  void wait_for(int members) {
    const unsigned round = rounds_.load();
    if (arrived_.fetch_add(1) + 1 == members) {
      arrived_.store(0);
      rounds_.fetch_add(1);
      return;
    }
    while (rounds_.load() == round) std::this_thread::yield();
  }

  auto member(int thread, int members) {
    return relpos::team_member(thread, members, [this, members] { wait_for(members); });
  }

  int threads_;
  std::vector<std::byte> workspace_;
  std::vector<std::shared_ptr<void>> nodes_;
  relpos::status status_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> rounds_{0};
};

namespace relpos_ggml {

/// A tensor [channel, position, head, batch] of ggml as a view [batch, head, position, channel].
/// A tensor without memory yet gets an address that is only good for a check of shapes.
template <class Element>
relpos::view<Element, 4> view_of(const ggml_tensor* tensor) {
  static char placeholder;
  relpos::view<Element, 4> result;
  void* const data = tensor->data == nullptr ? &placeholder : tensor->data;
  result.data = static_cast<Element*>(data);
  for (std::size_t axis = 0; axis < 4; ++axis) {
    result.shape[3 - axis] = tensor->ne[axis];
    result.strides[3 - axis] = static_cast<relpos::index_t>(tensor->nb[axis] / sizeof(Element));
  }
  return result;
}

/// The output has the axes of flash_attn_ext's, [channel, head, position, batch].
inline relpos::view<float, 4> output_view_of(const ggml_tensor* tensor) {
  auto result = view_of<float>(tensor);
  std::swap(result.shape[1], result.shape[2]);
  std::swap(result.strides[1], result.strides[2]);
  return result;
}

/// Refuses a tensor whose strides are no multiples of its type: a view into the middle of elements.
inline relpos::status check_strides(const char* name, const ggml_tensor* tensor) {
  for (int axis = 0; axis < 4; ++axis) {
    if (tensor->nb[axis] % ggml_type_size(tensor->type) == 0) continue;
    return relpos::status::error(relpos::status_code::invalid_stride,
                                 "%s: nb[%d] is %zu bytes, must be a multiple of %zu", name, axis,
                                 tensor->nb[axis], ggml_type_size(tensor->type));
  }
  return {};
}

inline relpos::status check_types(const ggml_tensor* q, const ggml_tensor* k,
                                  const ggml_tensor* v) {
  const ggml_type stored = k->type;
  if (q->type != GGML_TYPE_F32) {
    return relpos::status::error(relpos::status_code::invalid_value, "q: type is %s, must be f32",
                                 ggml_type_name(q->type));
  }
  if (stored != v->type ||
      (stored != GGML_TYPE_F32 && stored != GGML_TYPE_F16 && stored != GGML_TYPE_BF16)) {
    return relpos::status::error(relpos::status_code::invalid_value,
                                 "k, v: types are %s, %s, must both be f32, f16 or bf16",
                                 ggml_type_name(stored), ggml_type_name(v->type));
  }
  relpos::status valid = check_strides("q", q);
  if (valid) valid = check_strides("k", k);
  if (valid) valid = check_strides("v", v);
  return valid;
}

/// call(k, v) with views of the elements that the tensors hold, whose types were checked.
template <class Call>
auto with_keys_and_values(const ggml_tensor* k, const ggml_tensor* v, const Call& call) {
  const auto with = [&]<class Element>(std::type_identity<Element>) {
    return call(view_of<const Element>(k), view_of<const Element>(v));
  };
  if (k->type == GGML_TYPE_F16) return with(std::type_identity<relpos::half>());
  if (k->type == GGML_TYPE_BF16) return with(std::type_identity<relpos::bfloat16>());
  return with(std::type_identity<float>());
}

}  // namespace relpos_ggml

/// The policies of one call, beside the tensors that ggml keeps.
template <class... Arguments>
class relpos_plan::node {
 public:
  node(relpos_plan& plan, const Arguments&... arguments) : plan_(plan), arguments_(arguments...) {}

  /// 0 for a call that will be refused. Tables need the most if the positions of sequences are far
  /// apart, which a list query_offsets may come to say.
  std::size_t workspace_bytes(const ggml_tensor* q, const ggml_tensor* k,
                              const ggml_tensor* v) const {
    if (!relpos_ggml::check_types(q, k, v)) return 0;
    const auto runner = plan_.member(0, plan_.threads_);
    std::vector<relpos::index_t> far_apart;
    for (relpos::index_t i = 0; i < q->ne[3]; ++i) far_apart.push_back(i << 40);
    const auto with_offsets = [&]<class Argument>(Argument argument) {
      if constexpr (std::is_same_v<Argument, relpos::options>) {
        if (!argument.query_offsets.empty()) argument.query_offsets = far_apart;
      }
      return argument;
    };
    return relpos_ggml::with_keys_and_values(k, v, [&](const auto& keys, const auto& values) {
      return with_arguments([&](const Arguments&... arguments) {
        const auto queries = relpos_ggml::view_of<const float>(q);
        return std::max(
            relpos::workspace_bytes(runner, queries, keys, values, arguments...),
            relpos::workspace_bytes(runner, queries, keys, values, with_offsets(arguments)...));
      });
    });
  }

  /// ggml calls this on each of its threads.
  static void compute(ggml_tensor* out, int thread, int threads, void* self) {
    const node& call = *static_cast<const node*>(self);
    const int members = std::min(threads, call.plan_.threads_);
    if (thread >= members) return;
    const relpos::status done = call.attend(out, thread, members);
    if (done || thread != 0) return;
    if (call.plan_.status_) call.plan_.status_ = done;
    std::fill_n(static_cast<float*>(out->data), ggml_nelements(out),
                std::numeric_limits<float>::quiet_NaN());
  }

 private:
  template <class Call>
  auto with_arguments(const Call& call) const {
    return std::apply(call, arguments_);
  }

  /// All members get the same status: it depends on nothing that differs between them.
  relpos::status attend(ggml_tensor* out, int thread, int members) const {
    const ggml_tensor* const k = out->src[1];
    const ggml_tensor* const v = out->src[2];
    if (relpos::status valid = relpos_ggml::check_types(out->src[0], k, v); !valid) return valid;
    return relpos_ggml::with_keys_and_values(k, v, [&](const auto& keys, const auto& values) {
      return with_arguments([&](const Arguments&... arguments) {
        return relpos::attention(plan_.member(thread, members), relpos::workspace(plan_.workspace_),
                                 relpos_ggml::output_view_of(out),
                                 relpos_ggml::view_of<const float>(out->src[0]), keys, values,
                                 arguments...);
      });
    });
  }

  relpos_plan& plan_;
  std::tuple<Arguments...> arguments_;
};

/// A node that computes attention of q [d, n, heads, batch], f32, over k [d, n_kv, key heads,
/// batch] and v [d_v, n_kv, key heads, batch], both f32, f16 or bf16, in any strides. The number of
/// heads is a multiple of the number of key heads. The result is [d_v, heads, n, batch], f32, as
/// flash_attn_ext returns it.
///
/// `arguments` are policies and at most one relpos::options, in any order; the data that they refer
/// to is in memory when the node is made, and outlives the graph. The queries are the last rows of
/// the keys, unless options.query_offset or query_offsets say otherwise; each computation reads the
/// list query_offsets anew. A computation allocates nothing. A call with inconsistent shapes is
/// refused when the graph is computed (relpos_plan::status).
template <class... Arguments>
ggml_tensor* relpos_attention(ggml_context* ctx, relpos_plan& plan, ggml_tensor* q, ggml_tensor* k,
                              ggml_tensor* v, const Arguments&... arguments) {
  using node = relpos_plan::node<Arguments...>;
  const auto call = std::make_shared<node>(plan, arguments...);
  plan.nodes_.push_back(call);
  plan.workspace_.resize(std::max(plan.workspace_.size(), call->workspace_bytes(q, k, v)));
  std::array<ggml_tensor*, 3> tensors{q, k, v};
  return ggml_custom_4d(ctx, GGML_TYPE_F32, v->ne[0], q->ne[2], q->ne[1], q->ne[3], tensors.data(),
                        static_cast<int>(tensors.size()), &node::compute, GGML_N_TASKS_MAX,
                        call.get());
}
