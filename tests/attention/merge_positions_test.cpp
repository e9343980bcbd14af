// Slices of the keys in the positions of the whole, near 0 and far from it, merged: every encoding
// that counts positions, and a beginning that all sequences share.

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;
using support::tensor;

constexpr index_t queries = 9;
constexpr index_t keys = 1300;
constexpr index_t far = index_t{1} << 40;
constexpr kernel_class kernels[] = {kernel_class::prefill, kernel_class::decode};

const std::vector<float> table = support::random_tensor({1, 1, 32, 2}, 3, 2.0f).values;

inputs<float> inputs_of(index_t batch) {
  return support::random_inputs({.batch = batch,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 12,
                                 .value_dim = 6},
                                83);
}

using rows_view = relpos::view<const float, 4>;

/// The state of one slice of keys and values, whose first key stands at opts.key_offset.
template <class... Policies>
attended<float> slice_state(const tensor<float>& q, const rows_view& k, const rows_view& v,
                            const relpos::options& opts, const Policies&... policies) {
  const auto& rows = q.shape;
  attended<float> result{
      tensor<float>({rows[0], rows[1], rows[2], v.shape[3]}, support::not_a_number),
      tensor<float, 3>({rows[0], rows[1], rows[2]}, support::not_a_number)};
  support::watched_memory memory(
      relpos::workspace_bytes(relpos::serial{}, q.view(), k, v, policies..., opts));
  const relpos::status done =
      relpos::partial(relpos::serial{}, {memory.data(), memory.bytes()},
                      {result.out.view(), result.lse.view()}, q.view(), k, v, policies..., opts);
  EXPECT_TRUE(done) << done.message;
  return result;
}

void merge_into(attended<float>& into, attended<float> from) {
  const relpos::status done = relpos::merge(relpos::serial{}, {into.out.view(), into.lse.view()},
                                            {from.out.view(), from.lse.view()});
  EXPECT_TRUE(done) << done.message;
}

/// Each merge rounds what two states are weighed by.
template <class... Policies>
void expect_whole(const attended<float>& got, const inputs<float>& in, int merges,
                  const relpos::options& opts, const Policies&... policies) {
  std::vector<double> out, lse;
  std::vector<float> naive_out, naive_lse;
  const auto refer = [&](auto& all_out, auto& all_lse) {
    support::run_reference(all_out, all_lse, in.q.view(), in.k.view(), in.v.view(), opts,
                           policies...);
  };
  refer(out, lse);
  refer(naive_out, naive_lse);
  const double rounding = merges * 4 * 0x1p-24;
  support::expect_close(got.out.values, out, support::float_tolerance(out, naive_out) + rounding,
                        "out");
  support::expect_close(got.lse.values, lse,
                        support::float_tolerance(lse, naive_lse, true) + 8 * rounding, "lse");
}

/// The cuts lie beside the edges of tiles and of chunks, and anywhere.
template <class... Policies>
void expect_slices(const Policies&... policies) {
  const std::vector<index_t> ends{0, 1, 127, 500, 512, 1025, 1295, keys};
  const inputs<float> in = inputs_of(2);
  for (const index_t origin : {index_t{0}, far, -far}) {
    for (const kernel_class kernel : kernels) {
      SCOPED_TRACE(testing::Message() << "from " << origin << ", kernel " << int(kernel));
      relpos::options opts{
          .query_offset = origin + keys - queries, .key_offset = origin, .kernel = kernel};
      attended<float> got;
      for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
        const index_t count = ends[i + 1] - ends[i];
        relpos::options of_slice = opts;
        of_slice.key_offset = origin + ends[i];
        auto state = slice_state(in.q, in.k.view().slice(2, ends[i], count),
                                 in.v.view().slice(2, ends[i], count), of_slice, policies...);
        if (i == 0) {
          got = std::move(state);
        } else {
          merge_into(got, std::move(state));
        }
      }
      expect_whole(got, in, static_cast<int>(ends.size()) - 2, opts, policies...);
    }
  }
}

TEST(merge_positions, of_t5) { expect_slices(relpos::t5_bias{table, relpos::bidirectional}); }

TEST(merge_positions, of_a_bias_that_never_saturates) {
  expect_slices(relpos::relative_bias{[](index_t head, index_t distance) {
    return std::sin(0.37 * static_cast<double>(distance)) * static_cast<double>(head + 1);
  }});
}

TEST(merge_positions, of_rotations) {
  for (const auto& frequencies : {relpos::rope_frequencies(12), relpos::xpos_frequencies(8)}) {
    const relpos::rotary_table rope(frequencies, relpos::pair_layout::half_split);
    expect_slices(relpos::rotary{rope}, relpos::causal{});
  }
}

// Rows of one entry for all, which is a batch stride of 0.
rows_view shared(const rows_view& one, index_t batch) {
  rows_view result = one;
  result.shape[0] = batch;
  result.strides[0] = 0;
  return result;
}

TEST(merge_positions, of_a_beginning_that_sequences_share) {
  constexpr index_t batch = 3;
  constexpr index_t prefix = 1100;
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::interleaved);
  const relpos::t5_bias bias{table, relpos::unidirectional};
  const inputs<float> suffixes = inputs_of(batch);
  // The whole: entry 0's beginning in every entry.
  inputs<float> whole = suffixes;
  const auto share = [](tensor<float>& of) {
    for (index_t b = 1; b < batch; ++b) {
      for (index_t key = 0; key < prefix; ++key) {
        for (index_t c = 0; c < of.shape[3]; ++c) of(b, 0, key, c) = of(0, 0, key, c);
      }
    }
  };
  share(whole.k);
  share(whole.v);
  for (const index_t origin : {index_t{0}, far}) {
    for (const kernel_class kernel : kernels) {
      SCOPED_TRACE(testing::Message() << "from " << origin << ", kernel " << int(kernel));
      const relpos::options opts{
          .query_offset = origin + keys - queries, .key_offset = origin, .kernel = kernel};
      attended<float> got = slice_state(
          suffixes.q, shared(suffixes.k.view().slice(0, 0, 1).slice(2, 0, prefix), batch),
          shared(suffixes.v.view().slice(0, 0, 1).slice(2, 0, prefix), batch), opts,
          relpos::rotary{rope}, bias, relpos::causal{});
      relpos::options of_suffix = opts;
      of_suffix.key_offset = origin + prefix;
      merge_into(got, slice_state(suffixes.q, suffixes.k.view().slice(2, prefix, keys - prefix),
                                  suffixes.v.view().slice(2, prefix, keys - prefix), of_suffix,
                                  relpos::rotary{rope}, bias, relpos::causal{}));
      expect_whole(got, whole, 1, opts, relpos::rotary{rope}, bias, relpos::causal{});
    }
  }
}

}  // namespace
