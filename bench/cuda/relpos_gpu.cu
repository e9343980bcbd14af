// relpos's attention on a GPU behind a few functions of C, for compare.py. The calls are those
// of any program: the kernels are compiled for one pair of encoding and mask each, and nothing in
// them knows of the comparison. Only pairs that compare.py asks for are compiled in.
//
// Tensors are contiguous, [batch, head, position, channel], in device memory. Slopes and tables are
// in host memory.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string_view>
#include <type_traits>

#include "relpos/cuda/attention.hpp"
#include "relpos/policies.hpp"

extern "C" {

struct relpos_gpu_call {
  void* out;
  const void* q;
  const void* k;
  const void* v;
  std::int64_t batch;
  std::int64_t heads;
  std::int64_t key_heads;
  std::int64_t query_length;  // of the queries, which are the last rows of the keys
  std::int64_t length;        // of the keys
  std::int64_t head_dim;
  const char* type;        // bfloat16 or half
  const char* encoding;    // none, alibi, t5 or xpos
  const char* mask;        // causal, full, band or blockwise_causal
  std::int64_t extent;     // keys in the window of band, block of blockwise_causal
  const float* data;       // slopes [head] of alibi, table [32, head] of t5
  std::int32_t two_sided;  // whether t5 has buckets for keys after the query
  float scale;
};
}

namespace {

using relpos::index_t;

template <class T, int HeadDim>
struct tensors {
  static constexpr int head_dim = HeadDim;
  relpos::view<T, 4> out;
  relpos::view<const T, 4> q;
  relpos::view<const T, 4> k;
  relpos::view<const T, 4> v;

  explicit tensors(const relpos_gpu_call& call)
      : out(static_cast<T*>(call.out), {call.batch, call.heads, call.query_length, HeadDim}),
        q(static_cast<const T*>(call.q), out.shape),
        k(static_cast<const T*>(call.k), {call.batch, call.key_heads, call.length, HeadDim}),
        v(static_cast<const T*>(call.v), k.shape) {}
};

relpos::status unknown(const char* what, const char* name) {
  return relpos::status::error(relpos::status_code::invalid_value, "%s: '%s' is not compiled in",
                               what, name);
}

/// Made once, as a model does, and there for as long as a policy refers to it.
template <int HeadDim>
const relpos::rotary_table& xpos_table() {
  static const relpos::rotary_table table(relpos::xpos_frequencies(HeadDim),
                                          relpos::pair_layout::half_split);
  return table;
}

/// use(tensors, policies...), which returns a status.
template <class Tensors, class Use>
relpos::status with_policies(const relpos_gpu_call& call, const Use& use) {
  const Tensors of(call);
  const std::string_view encoding(call.encoding), mask(call.mask);
  const auto data = [&](index_t size) {
    return relpos::borrowed_data(std::span(call.data, static_cast<std::size_t>(size)));
  };
  if (encoding == "none") {
    if (mask == "causal") return use(of, relpos::causal{});
    if (mask == "full") return use(of);
    if (mask == "band") return use(of, relpos::band{call.extent - 1, 0});
    if (mask == "blockwise_causal") return use(of, relpos::blockwise_causal{call.extent});
    return unknown("mask", call.mask);
  }
  if (mask != "causal") return unknown("mask", call.mask);
  if (encoding == "alibi") return use(of, relpos::alibi{data(call.heads)}, relpos::causal{});
  if (encoding == "t5") {
    const auto direction = call.two_sided != 0 ? relpos::bidirectional : relpos::unidirectional;
    return use(of, relpos::t5_bias{data(32 * call.heads), direction}, relpos::causal{});
  }
  if (encoding == "xpos") {
    return use(of, relpos::rotary{xpos_table<Tensors::head_dim>()}, relpos::causal{});
  }
  return unknown("encoding", call.encoding);
}

template <class T, class Use>
relpos::status with_head_dim(const relpos_gpu_call& call, const Use& use) {
  if (call.head_dim == 64) return with_policies<tensors<T, 64>>(call, use);
  if (call.head_dim == 128) return with_policies<tensors<T, 128>>(call, use);
  return relpos::status::error(relpos::status_code::invalid_shape, "head_dim: must be 64 or 128");
}

template <class Use>
relpos::status with_type(const relpos_gpu_call& call, const Use& use) {
  const std::string_view type(call.type);
  if (type == "bfloat16") return with_head_dim<relpos::bfloat16>(call, use);
  if (type == "half") return with_head_dim<relpos::half>(call, use);
  return unknown("type", call.type);
}

}  // namespace

extern "C" {

/// The bytes of device memory and of page-locked host memory. 0 for a call that is refused.
void relpos_gpu_workspace_bytes(const relpos_gpu_call* call, std::size_t* device, std::size_t* host) {
  relpos::device_workspace_bytes bytes;
  const relpos::options opts{.scale = call->scale};
  const relpos::status known = with_type(*call, [&](const auto& of, const auto&... policies) {
    using dims = relpos::head_dims<std::remove_cvref_t<decltype(of)>::head_dim>;
    bytes = relpos::workspace_bytes<dims>(relpos::on_stream{}, of.q, of.k, of.v, policies..., opts);
    return relpos::status{};
  });
  *device = known ? bytes.device : 0;
  *host = known ? bytes.host : 0;
}

/// 0 when the work is in the stream. Otherwise nothing was launched, and `message` says why.
int relpos_gpu_attention(const relpos_gpu_call* call, void* device, std::size_t device_bytes,
                         void* host, std::size_t host_bytes, void* stream, char* message,
                         std::size_t capacity) {
  const relpos::options opts{.scale = call->scale};
  const relpos::on_stream on{static_cast<cudaStream_t>(stream)};
  const relpos::device_workspace memory{{device, device_bytes}, {host, host_bytes}};
  const relpos::status done = with_type(*call, [&](const auto& of, const auto&... policies) {
    using dims = relpos::head_dims<std::remove_cvref_t<decltype(of)>::head_dim>;
    return relpos::attention<dims>(on, memory, of.out, of.q, of.k, of.v, policies..., opts);
  });
  std::snprintf(message, capacity, "%s", done.message);
  return done ? 0 : 1;
}
}
