// torch.ops.relpos.append and cached_attention: a cache of keys and values in tensors of the
// caller, contiguous or paged.

#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>

#include <array>
#include <cstdint>

#include "call.hpp"

namespace {

using relpos_operator::view_of;

/// Calls use(cache) with a paged cache if there is a block table, otherwise with a contiguous one.
template <class Element, class Use>
auto with_cache(const at::Tensor& keys, const at::Tensor& values, std::span<int64_t> lengths,
                const std::optional<at::Tensor>& block_table, const Use& use) {
  const relpos::cache_memory<Element> memory{view_of<Element>("keys", keys),
                                             view_of<Element>("values", values)};
  if (!block_table) return use(relpos::contiguous_cache<Element>{memory, lengths});
  TORCH_CHECK_VALUE(block_table->scalar_type() == at::kInt && block_table->dim() == 2,
                    "block_table: is ", block_table->scalar_type(), " ", block_table->sizes(),
                    ", must be int32 [sequence, block]");
  const relpos::view<std::int32_t, 2> pages{block_table->mutable_data_ptr<std::int32_t>(),
                                            {block_table->size(0), block_table->size(1)},
                                            {block_table->stride(0), block_table->stride(1)}};
  return use(relpos::paged_cache<Element>{memory, lengths, {pages}});
}

std::span<int64_t> span_of(const at::Tensor& lengths) {
  TORCH_CHECK_VALUE(
      lengths.scalar_type() == at::kLong && lengths.dim() == 1 && lengths.is_contiguous(),
      "lengths: is ", lengths.scalar_type(), " ", lengths.sizes(),
      ", must be int64 [sequence] and contiguous");
  return {lengths.mutable_data_ptr<int64_t>(), relpos_operator::size_of(lengths)};
}

void append(const at::Tensor& keys, const at::Tensor& values, const at::Tensor& lengths,
            const at::Tensor& k, const at::Tensor& v, const std::optional<at::Tensor>& block_table,
            std::string_view encoding, double base, std::string_view pair_layout) {
  const std::array types{keys.scalar_type(), values.scalar_type(), k.scalar_type(),
                         v.scalar_type()};
  relpos_operator::with_element("keys, values, k, v", types, [&](auto element) {
    using number = decltype(element);
    const auto new_keys = view_of<const number>("k", k);
    const auto new_values = view_of<const number>("v", v);
    with_cache<number>(keys, values, span_of(lengths), block_table, [&](const auto& cache) {
      const relpos_operator::torch_executor runner;
      const relpos::status done = relpos_operator::rotates(encoding)
                                      ? relpos::append(runner, cache, new_keys, new_values,
                                                       relpos::rotary{relpos_operator::table_of(
                                                           encoding, k.size(3), base, pair_layout)})
                                      : relpos::append(runner, cache, new_keys, new_values);
      TORCH_CHECK_VALUE(done, done.message);
    });
  });
  // Autograd then refuses a backward pass that needs what was there before.
  for (const at::Tensor& written : {keys, values, lengths}) {
    written.unsafeGetTensorImpl()->bump_version();
  }
}

at::Tensor cached_attention(const at::Tensor& q, const at::Tensor& keys, const at::Tensor& values,
                            const at::Tensor& lengths, const std::optional<at::Tensor>& block_table,
                            std::string_view encoding, std::string_view mask,
                            std::optional<int64_t> mask_size,
                            const std::optional<at::Tensor>& left_padding,
                            const std::optional<at::Tensor>& slopes,
                            const std::optional<at::Tensor>& table, int64_t max_distance,
                            double base, std::string_view pair_layout,
                            std::optional<double> scale) {
  const std::array types{q.scalar_type(), keys.scalar_type(), values.scalar_type()};
  return relpos_operator::with_element("q, keys, values", types, [&](auto element) {
    using number = decltype(element);
    const auto attend = [&](const auto& cache) {
      return relpos_operator::attend<number>({encoding, mask, mask_size, left_padding, slopes,
                                              table, max_distance, base, pair_layout, scale},
                                             q, cache.value_dim(), cache);
    };
    return with_cache<number>(keys, values, span_of(lengths), block_table, attend);
  });
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(relpos, library) {
  library.def(
      "append(Tensor(a!) keys, Tensor(b!) values, Tensor(c!) lengths, Tensor k, Tensor v, *, "
      "Tensor? block_table=None, str encoding='none', float base=10000., "
      "str pair_layout='half_split') -> ()");
  library.def(
      "cached_attention(Tensor q, Tensor keys, Tensor values, Tensor lengths, *, "
      "Tensor? block_table=None, str encoding='none', str mask='full', int? mask_size=None, "
      "Tensor? left_padding=None, Tensor? slopes=None, Tensor? table=None, int max_distance=128, "
      "float base=10000., str pair_layout='half_split', float? scale=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(relpos, CPU, library) {
  library.impl("append", &append);
  library.impl("cached_attention", &cached_attention);
}

TORCH_LIBRARY_IMPL(relpos, Autograd, library) {
  library.impl("append", torch::autograd::autogradNotImplementedFallback());
  library.impl("cached_attention", torch::autograd::autogradNotImplementedFallback());
}
