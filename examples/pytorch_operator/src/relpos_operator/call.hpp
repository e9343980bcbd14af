#pragma once
// The parts that attention over tensors and over a cache share: PyTorch's threads, masks and
// encodings by name, views of tensors, and the call itself.

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>
#include <relpos/views.hpp>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#ifndef INTRA_OP_PARALLEL
#error "build with -fopenmp: without it at::parallel_for runs everything on one thread"
#endif

namespace relpos_operator {

using relpos::index_t;

/// PyTorch's threads, as many as torch.get_num_threads() says. Called from one of them, it runs
/// alone.
class torch_executor {
 public:
  index_t workers() const { return threads_; }

  template <class Item>
  void run(index_t count, Item&& item) const {
    // One range per worker, each taking what is next: under a causal mask items differ in size.
    std::atomic<index_t> next{0};
    at::parallel_for(0, std::min(threads_, count), 1, [&](index_t first, index_t last) {
      for (index_t worker = first; worker < last; ++worker) {
        for (index_t i = next++; i < count; i = next++) item(i, worker);
      }
    });
  }

 private:
  index_t threads_ = at::get_num_threads();
};

/// A mask whose kind is known at run time only.
struct chosen_mask {
  enum class kind { full, causal, sliding_window, blockwise_causal, chunked_causal, prefix };
  kind is = kind::full;
  index_t size = 0;

  /// Calls use(mask) with the mask of the kind.
  template <class Use>
  auto with(const Use& use) const {
    switch (is) {
      case kind::causal:
        return use(relpos::causal{});
      case kind::sliding_window:
        return use(relpos::sliding_window{size});
      case kind::blockwise_causal:
        return use(relpos::blockwise_causal{size});
      case kind::chunked_causal:
        return use(relpos::chunked_causal{size});
      case kind::prefix:
        return use(relpos::prefix{size});
      default:
        return use(relpos::full{});
    }
  }
  relpos::key_range visible_keys(index_t q_pos) const {
    return with([&](const auto& mask) { return mask.visible_keys(q_pos); });
  }
  relpos::status check(const relpos::attention_shape& shape) const {
    return with([&](const auto& mask) -> relpos::status {
      if constexpr (requires { mask.check(shape); }) return mask.check(shape);
      return {};
    });
  }
};

/// The keywords of a call. README.md describes them.
struct keywords {
  std::string_view encoding;
  std::string_view mask;
  std::optional<index_t> mask_size;
  const std::optional<at::Tensor>& left_padding;
  const std::optional<at::Tensor>& slopes;
  const std::optional<at::Tensor>& table;
  index_t max_distance;
  double base;
  std::string_view pair_layout;
  std::optional<double> scale;
};

chosen_mask mask_of(const keywords& given);

/// Whether the encoding rotates keys. Refuses unknown names.
bool rotates(std::string_view encoding);

/// The table of an encoding that rotates, made on its first use and kept: it depends on no length.
const relpos::rotary_table& table_of(std::string_view encoding, index_t head_dim, double base,
                                     std::string_view pair_layout);

/// The view of a tensor, whatever its strides.
template <class Element>
relpos::view<Element, 4> view_of(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.dim() == 4, name, ": shape is ", tensor.sizes(),
                    ", must be [batch, heads, length, channels]");
  relpos::view<Element, 4> result;
  if constexpr (std::is_const_v<Element>) {
    result.data = static_cast<Element*>(tensor.const_data_ptr());
  } else {
    result.data = static_cast<Element*>(tensor.mutable_data_ptr());
  }
  std::copy_n(tensor.sizes().begin(), 4, result.shape.begin());
  std::copy_n(tensor.strides().begin(), 4, result.strides.begin());
  return result;
}

inline std::size_t size_of(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel());
}

/// The data that a policy refers to. The caller keeps the tensor, which is contiguous and float32.
inline relpos::borrowed_data data_of(const at::Tensor& kept) {
  relpos::borrowed_data result{std::span(kept.const_data_ptr<float>(), size_of(kept))};
  if (kept.dim() == 2) {
    result.rows = kept.size(0);
    result.columns = kept.size(1);
  }
  return result;
}

/// Calls use(element) with a number of the type that all these tensors hold.
template <class Use>
auto with_element(const char* names, at::ArrayRef<at::ScalarType> types, const Use& use) {
  const at::ScalarType type = types.front();
  for (const at::ScalarType other : types) {
    TORCH_CHECK_VALUE(other == type, names, ": must have one dtype, are ", types);
  }
  if (type == at::kFloat) return use(float());
  if (type == at::kBFloat16) return use(relpos::bfloat16());
  TORCH_CHECK_VALUE(type == at::kHalf, names, ": dtype is ", type,
                    ", must be float32, bfloat16 or float16");
  return use(relpos::half());
}

/// Calls use(policies...) with the policies of the encoding.
template <class Use>
void with_encoding(const keywords& given, bool is_encoder, index_t heads, index_t head_dim,
                   const Use& use) {
  const std::string_view encoding = given.encoding;
  const bool is_rotation = rotates(encoding);
  const bool is_alibi = encoding == "alibi" || encoding == "alibi_symmetric";
  TORCH_CHECK_VALUE(is_alibi || !given.slopes, "slopes: the encoding '", encoding, "' has none");
  TORCH_CHECK_VALUE((encoding == "t5") == given.table.has_value(),
                    "table: must be given with the encoding 't5' and no other");
  if (is_rotation) {
    return use(relpos::rotary{table_of(encoding, head_dim, given.base, given.pair_layout)});
  }
  if (is_alibi) {
    const std::vector<float> standard = relpos::alibi_slopes(heads);
    const at::Tensor kept = given.slopes ? given.slopes->to(at::kFloat).contiguous() : at::Tensor();
    const relpos::borrowed_data slopes =
        given.slopes ? data_of(kept) : relpos::borrowed_data(standard);
    if (encoding == "alibi") return use(relpos::alibi{slopes});
    return use(relpos::alibi_symmetric{slopes});
  }
  if (encoding == "t5") {
    const at::Tensor kept = given.table->to(at::kFloat).contiguous();
    TORCH_CHECK_VALUE(kept.dim() == 2, "table: shape is ", kept.sizes(),
                      ", must be [buckets, heads]");
    return use(relpos::t5_bias{data_of(kept),
                               is_encoder ? relpos::bidirectional : relpos::unidirectional,
                               {.num_buckets = kept.size(0), .max_distance = given.max_distance}});
  }
  return use();
}

/// Attention of q over `source`: views of keys and values, or a cache.
template <class Element, class... Source>
at::Tensor attend(const keywords& given, const at::Tensor& q, index_t value_dim,
                  const Source&... source) {
  const auto queries = view_of<const Element>("q", q);
  const chosen_mask mask = mask_of(given);
  TORCH_CHECK_VALUE(!given.left_padding || at::isIntegralType(given.left_padding->scalar_type(),
                                                              /*includeBool=*/false),
                    "left_padding: dtype is ", given.left_padding->scalar_type(),
                    ", must be of integers");
  const at::Tensor counts = given.left_padding ? given.left_padding->to(at::kLong).contiguous()
                                               : at::zeros({q.size(0)}, at::kLong);
  const relpos::left_padding padded(relpos::borrowed_values<index_t>(std::span(
                                        counts.const_data_ptr<int64_t>(), size_of(counts))),
                                    mask);
  relpos::options opts;
  if (given.scale) opts.scale = static_cast<float>(*given.scale);
  if (std::is_same_v<Element, relpos::bfloat16>) {
    // As PyTorch's own attention does.
    opts.arithmetic = relpos::arithmetic_type::bfloat16;
  }

  const at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2), value_dim}, q.options());
  const torch_executor runner;
  const auto run = [&](const auto&... policies) {
    const auto call = relpos::prepare(runner, view_of<Element>("out", out), queries, source...,
                                      opts, padded, policies...);
    const std::size_t bytes = call.workspace_bytes();
    const at::Tensor memory = at::empty({static_cast<index_t>(bytes)}, at::kByte);
    const relpos::status done =
        call.run(runner, relpos::workspace(memory.mutable_data_ptr(), bytes));
    TORCH_CHECK_VALUE(done, done.message);
  };
  const bool is_encoder = mask.is == chosen_mask::kind::full;
  with_encoding(given, is_encoder, q.size(1), q.size(3), run);
  return out;
}

}  // namespace relpos_operator
