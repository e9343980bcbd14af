#pragma once
// Each translation unit of the program makes this call with the instruction set of its own flags.

#include <relpos/relpos.hpp>

#include <vector>

/// One attention call: batch 1, 2 heads, 50 queries, 70 keys, 16 channels; causal, with ALiBi.
struct two_flags_call {
  static constexpr int heads = 2;
  static constexpr int queries = 50;
  static constexpr int keys = 70;
  static constexpr int channels = 16;
  std::vector<float> q, k, v, slopes;
};

struct two_flags_answer {
  int lanes = 0;               // of relpos::native
  const void* code = nullptr;  // of one and the same function
  bool accepted = false;
  std::vector<float> out, lse;              // view form
  std::vector<float> eigen_out, eigen_lse;  // Eigen form
};

// Not in a header's namespace but once in each translation unit: this is what the flags compile.
namespace {

two_flags_answer answer_with_own_flags(const two_flags_call& call) {
  constexpr auto heads = two_flags_call::heads;
  constexpr auto queries = two_flags_call::queries;
  constexpr auto keys = two_flags_call::keys;
  constexpr auto channels = two_flags_call::channels;
  const relpos::view<const float, 4> q(call.q.data(), {1, heads, queries, channels});
  const relpos::view<const float, 4> k(call.k.data(), {1, heads, keys, channels});
  const relpos::view<const float, 4> v(call.v.data(), {1, heads, keys, channels});
  const relpos::alibi alibi{call.slopes};

  two_flags_answer answer;
  answer.lanes = relpos::lanes<relpos::native>;
  answer.code = reinterpret_cast<const void*>(&relpos::check_view<const float, 4>);

  answer.out.resize(call.q.size());
  answer.lse.resize(std::size_t{heads} * queries);
  const relpos::view<float, 4> out(answer.out.data(), {1, heads, queries, channels});
  const relpos::view<float, 3> lse(answer.lse.data(), {1, heads, queries});
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial{}, q, k, v, alibi, relpos::causal{}));
  answer.accepted =
      static_cast<bool>(relpos::attention(relpos::serial{}, memory, out, q, k, v, alibi,
                                          relpos::causal{}, relpos::options{.lse = lse}));

  // Maps: Eigen's own allocation must not differ between the translation units of a program.
  using tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;
  using input = Eigen::TensorMap<const tensor>;
  answer.eigen_out.resize(answer.out.size());
  answer.eigen_lse.resize(answer.lse.size());
  Eigen::TensorMap<Eigen::Tensor<float, 3, Eigen::RowMajor>> eigen_lse(answer.eigen_lse.data(), 1,
                                                                       heads, queries);
  relpos::attention(Eigen::DefaultDevice(),
                    Eigen::TensorMap<tensor>(answer.eigen_out.data(), 1, heads, queries, channels),
                    input(call.q.data(), 1, heads, queries, channels),
                    input(call.k.data(), 1, heads, keys, channels),
                    input(call.v.data(), 1, heads, keys, channels), relpos::causal{}, alibi,
                    relpos::options{.lse = eigen_lse});
  return answer;
}

}  // namespace
