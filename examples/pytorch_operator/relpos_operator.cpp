// torch.ops.relpos.attention: relpos as an operator of PyTorch for the CPU. README.md shows how to
// build and call it.
//
// Encodings are types and so are chosen here, by name, among a few calls that are compiled in. The
// mask is one type that reads its kind at run time: a mask costs nothing in the loop over keys, so
// nothing is lost by it.

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <relpos/views.hpp>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <vector>

#ifndef INTRA_OP_PARALLEL
#error "build with -fopenmp: without it at::parallel_for runs everything on one thread"
#endif

using namespace relpos;

namespace {

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

/// full, causal or blockwise_causal, known at run time only.
struct chosen_mask {
  enum class kind { full, causal, blockwise_causal } is = kind::full;
  index_t block = 0;

  static chosen_mask of(std::string_view name, std::optional<index_t> block) {
    chosen_mask result;
    if (name == "causal") result.is = kind::causal;
    if (name == "blockwise_causal") result.is = kind::blockwise_causal;
    TORCH_CHECK_VALUE(name == "full" || result.is != kind::full, "mask: is '", name,
                      "', must be 'full', 'causal' or 'blockwise_causal'");
    const bool is_blockwise = result.is == kind::blockwise_causal;
    TORCH_CHECK_VALUE(block.has_value() == is_blockwise,
                      "block: must be given with the mask 'blockwise_causal' and no other");
    result.block = block.value_or(0);
    return result;
  }

  key_range visible_keys(index_t q_pos) const {
    switch (is) {
      case kind::causal:
        return causal{}.visible_keys(q_pos);
      case kind::blockwise_causal:
        return blockwise_causal{block}.visible_keys(q_pos);
      default:
        return full{}.visible_keys(q_pos);
    }
  }
  status check(const attention_shape& shape) const {
    if (is != kind::blockwise_causal) return {};
    return blockwise_causal{block}.check(shape);
  }
};

/// The view of a tensor, whatever its strides.
template <class Element>
view<Element, 4> view_of(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.dim() == 4, name, ": shape is ", tensor.sizes(),
                    ", must be [batch, heads, length, channels]");
  view<Element, 4> result;
  if constexpr (std::is_const_v<Element>) {
    result.data = static_cast<Element*>(tensor.const_data_ptr());
  } else {
    result.data = static_cast<Element*>(tensor.mutable_data_ptr());
  }
  std::copy_n(tensor.sizes().begin(), 4, result.shape.begin());
  std::copy_n(tensor.strides().begin(), 4, result.strides.begin());
  return result;
}

/// What a policy refers to: the caller keeps the tensor, which is contiguous and float32.
borrowed_data data_of(const at::Tensor& kept) {
  borrowed_data result{
      std::span(kept.const_data_ptr<float>(), static_cast<std::size_t>(kept.numel()))};
  if (kept.dim() == 2) {
    result.rows = kept.size(0);
    result.columns = kept.size(1);
  }
  return result;
}

/// The table of a rotation, made on its first use and kept: it depends on no length.
const rotary_table& kept_table(bool decays, index_t head_dim, double base, pair_layout layout) {
  // NaN would equal every key of the map.
  TORCH_CHECK_VALUE(std::isfinite(base), "base: is ", base, ", must be finite");
  static std::mutex one_at_a_time;
  static std::map<std::tuple<bool, index_t, double, pair_layout>, rotary_table> tables;
  const std::lock_guard lock(one_at_a_time);
  const std::tuple key{decays, head_dim, base, layout};
  const auto found = tables.find(key);
  if (found != tables.end()) return found->second;
  const auto frequencies =
      decays ? xpos_frequencies(head_dim, 0.4, 512.0, base) : rope_frequencies(head_dim, base);
  return tables.try_emplace(key, frequencies, layout).first->second;
}

template <class Element, class... Arguments>
at::Tensor attention_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const Arguments&... arguments) {
  const auto queries = view_of<const Element>("q", q);
  const auto keys = view_of<const Element>("k", k);
  const auto values = view_of<const Element>("v", v);
  const at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());

  const torch_executor runner;
  const auto call =
      prepare(runner, view_of<Element>("out", out), queries, keys, values, arguments...);
  const std::size_t bytes = call.workspace_bytes();
  const at::Tensor memory = at::empty({static_cast<index_t>(bytes)}, at::kByte);
  const status done = call.run(runner, workspace(memory.mutable_data_ptr(), bytes));
  TORCH_CHECK_VALUE(done, done.message);
  return out;
}

at::Tensor chosen_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::string_view encoding, std::string_view mask,
                            std::optional<index_t> block, const std::optional<at::Tensor>& slopes,
                            const std::optional<at::Tensor>& table, index_t max_distance,
                            double base, std::string_view pair_layout,
                            std::optional<double> scale) {
  const at::ScalarType type = q.scalar_type();
  TORCH_CHECK_VALUE(k.scalar_type() == type && v.scalar_type() == type,
                    "q, k, v: must have one dtype, are ", type, ", ", k.scalar_type(), ", ",
                    v.scalar_type());
  TORCH_CHECK_VALUE(q.dim() == 4, "q: shape is ", q.sizes(),
                    ", must be [batch, heads, length, channels]");
  const bool is_alibi = encoding == "alibi" || encoding == "alibi_symmetric";
  TORCH_CHECK_VALUE(is_alibi || !slopes, "slopes: the encoding '", encoding, "' has none");
  TORCH_CHECK_VALUE((encoding == "t5") == table.has_value(),
                    "table: must be given with the encoding 't5' and no other");

  const chosen_mask sees = chosen_mask::of(mask, block);
  options opts;
  if (scale) opts.scale = static_cast<float>(*scale);
  const auto attend = [&](const auto&... policies) {
    if (type == at::kFloat) return attention_of<float>(q, k, v, opts, sees, policies...);
    if (type == at::kBFloat16) {
      // As PyTorch's own attention does.
      options multiplied = opts;
      multiplied.arithmetic = arithmetic_type::bfloat16;
      return attention_of<bfloat16>(q, k, v, multiplied, sees, policies...);
    }
    TORCH_CHECK_VALUE(type == at::kHalf, "q: dtype is ", type,
                      ", must be float32, bfloat16 or float16");
    return attention_of<half>(q, k, v, opts, sees, policies...);
  };

  if (encoding == "none") return attend();
  if (is_alibi) {
    const std::vector<float> standard = alibi_slopes(q.size(1));
    const at::Tensor given = slopes ? slopes->to(at::kFloat).contiguous() : at::Tensor();
    const borrowed_data per_head = slopes ? data_of(given) : borrowed_data(standard);
    if (encoding == "alibi") return attend(alibi{per_head});
    return attend(alibi_symmetric{per_head});
  }
  if (encoding == "t5") {
    const at::Tensor kept = table->to(at::kFloat).contiguous();
    TORCH_CHECK_VALUE(kept.dim() == 2, "table: shape is ", kept.sizes(),
                      ", must be [buckets, heads]");
    const bool is_encoder = sees.is == chosen_mask::kind::full;
    return attend(t5_bias{data_of(kept),
                          is_encoder ? bidirectional : unidirectional,
                          {.num_buckets = kept.size(0), .max_distance = max_distance}});
  }
  TORCH_CHECK_VALUE(encoding == "rope" || encoding == "xpos", "encoding: is '", encoding,
                    "', must be 'none', 'alibi', 'alibi_symmetric', 't5', 'rope' or 'xpos'");
  const bool is_interleaved = pair_layout == "interleaved";
  TORCH_CHECK_VALUE(is_interleaved || pair_layout == "half_split", "pair_layout: is '", pair_layout,
                    "', must be 'half_split' or 'interleaved'");
  const auto layout = is_interleaved ? pair_layout::interleaved : pair_layout::half_split;
  return attend(rotary{kept_table(encoding == "xpos", q.size(3), base, layout)});
}

std::string instruction_set() { return native::name; }

}  // namespace

TORCH_LIBRARY(relpos, library) {
  library.def(
      "attention(Tensor q, Tensor k, Tensor v, *, str encoding='none', str mask='full', "
      "int? block=None, Tensor? slopes=None, Tensor? table=None, int max_distance=128, "
      "float base=10000., str pair_layout='half_split', float? scale=None) -> Tensor");
  library.def("instruction_set() -> str", &instruction_set);
}

TORCH_LIBRARY_IMPL(relpos, CPU, library) { library.impl("attention", &chosen_attention); }

// Without it a backward pass would stop here without a word.
TORCH_LIBRARY_IMPL(relpos, Autograd, library) {
  library.impl("attention", torch::autograd::autogradNotImplementedFallback());
}
