// torch.ops.relpos.attention: relpos as an operator of PyTorch for the CPU. README.md shows how to
// install and call it.
//
// Encodings are types and so are chosen by name, among a few calls that are compiled in. The mask
// is one type that reads its kind at run time: a mask costs nothing in the loop over keys, so
// nothing is lost by it.

#include <torch/csrc/autograd/autograd_not_implemented_fallback.h>

#include <string>

#include "call.hpp"

namespace {

using relpos_operator::view_of;

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     std::string_view encoding, std::string_view mask,
                     std::optional<int64_t> mask_size,
                     const std::optional<at::Tensor>& left_padding,
                     const std::optional<at::Tensor>& slopes,
                     const std::optional<at::Tensor>& table, int64_t max_distance, double base,
                     std::string_view pair_layout, std::optional<double> scale) {
  return relpos_operator::with_element(
      "q, k, v", {q.scalar_type(), k.scalar_type(), v.scalar_type()}, [&](auto element) {
        using number = decltype(element);
        const auto values = view_of<const number>("v", v);
        return relpos_operator::attend<number>({encoding, mask, mask_size, left_padding, slopes,
                                                table, max_distance, base, pair_layout, scale},
                                               q, values.shape[3], view_of<const number>("k", k),
                                               values);
      });
}

std::string instruction_set() { return relpos::native::name; }

std::string build_flags() { return RELPOS_OPERATOR_FLAGS; }

}  // namespace

TORCH_LIBRARY(relpos, library) {
  library.def(
      "attention(Tensor q, Tensor k, Tensor v, *, str encoding='none', str mask='full', "
      "int? mask_size=None, Tensor? left_padding=None, Tensor? slopes=None, Tensor? table=None, "
      "int max_distance=128, float base=10000., str pair_layout='half_split', "
      "float? scale=None) -> Tensor");
  library.def("instruction_set() -> str", &instruction_set);
  library.def("build_flags() -> str", &build_flags);
}

TORCH_LIBRARY_IMPL(relpos, CPU, library) { library.impl("attention", &attention); }

// Without it a backward pass would stop here without a word.
TORCH_LIBRARY_IMPL(relpos, Autograd, library) {
  library.impl("attention", torch::autograd::autogradNotImplementedFallback());
}
