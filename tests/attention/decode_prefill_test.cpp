// A token decoded alone is the same row of a prefill, up to the rounding of two kernels which sum
// in different orders.

#include <gtest/gtest.h>

#include <type_traits>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;

constexpr index_t heads = 4;
constexpr index_t length = 1300;
const std::vector<float> slopes{0.3f, 0.05f, 0.004f, 0.0f};
const std::vector<float> table = support::random_tensor({1, 1, 32, heads}, 3, 2.0f).values;

const inputs<float>& all_inputs() {
  static const inputs<float> in = support::random_inputs({.batch = 1,
                                                          .query_heads = heads,
                                                          .key_heads = 2,
                                                          .query_length = length,
                                                          .key_length = length,
                                                          .head_dim = 24,
                                                          .value_dim = 16},
                                                         47);
  return in;
}

template <class To, class From>
void append(std::vector<To>& to, const std::vector<From>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// Appends what prefill gave for one row of all heads.
void append_row(const attended<float>& whole, index_t row, std::vector<double>& out,
                std::vector<double>& lse) {
  for (index_t h = 0; h < heads; ++h) {
    lse.push_back(static_cast<double>(whole.lse(0, h, row)));
    for (index_t c = 0; c < whole.out.shape[3]; ++c) {
      out.push_back(static_cast<double>(whole.out(0, h, row, c)));
    }
  }
}

template <class... Policies>
void expect_tokens(const Policies&... policies) {
  const inputs<float>& in = all_inputs();
  const attended<float> whole =
      attend(in, {.kernel = kernel_class::prefill}, policies..., relpos::causal{});
  std::vector<float> decoded_out, decoded_lse, naive_out, naive_lse;
  std::vector<double> prefilled_out, prefilled_lse, exact_out, exact_lse;
  for (const index_t row : {0, 1, 15, 127, 128, 511, 700, 1023, 1024, 1299}) {
    const auto q = in.q.view().slice(2, row, 1);
    const auto k = in.k.view().slice(2, 0, row + 1);
    const auto v = in.v.view().slice(2, 0, row + 1);
    const attended<float> token =
        support::attend(q, k, v, {.kernel = kernel_class::decode}, policies..., relpos::causal{});
    append(decoded_out, token.out.values);
    append(decoded_lse, token.lse.values);
    append_row(whole, row, prefilled_out, prefilled_lse);
    const auto refer = [&](auto& all_out, auto& all_lse) {
      std::remove_reference_t<decltype(all_out)> out, lse;
      support::run_reference(out, lse, q, k, v, {}, policies..., relpos::causal{});
      append(all_out, out);
      append(all_lse, lse);
    };
    refer(exact_out, exact_lse);
    refer(naive_out, naive_lse);
  }
  // Each may be one tolerance away from the exact row.
  support::expect_close(decoded_out, prefilled_out,
                        2.0 * support::float_tolerance(exact_out, naive_out), "out");
  support::expect_close(decoded_lse, prefilled_lse,
                        2.0 * support::float_tolerance(exact_lse, naive_lse, true), "lse");
}

TEST(decode_prefill, without_an_encoding) { expect_tokens(); }

TEST(decode_prefill, of_biases) {
  expect_tokens(relpos::alibi{slopes});
  expect_tokens(relpos::t5_bias{table, relpos::unidirectional});
}

TEST(decode_prefill, of_rotations) {
  for (const auto& frequencies : {relpos::rope_frequencies(24), relpos::xpos_frequencies(16)}) {
    const relpos::rotary_table rope(frequencies, relpos::pair_layout::half_split);
    expect_tokens(relpos::rotary{rope});
  }
}

}  // namespace
