// The same policies in the kernel of the GPU as in the reference.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cuda/expect_device.hpp"
#include "relpos/policies.hpp"

namespace {

using relpos::half;
using relpos::index_t;

using device_policies = support::device_test;
using support::device_array;

const std::vector<float> slopes{0.3f, 0.02f};

const support::inputs<half>& in() {
  static const auto made = support::random_inputs<half>({.batch = 2,
                                                         .query_heads = 2,
                                                         .key_heads = 1,
                                                         .query_length = 70,
                                                         .key_length = 150,
                                                         .head_dim = 64,
                                                         .value_dim = 64},
                                                        7);
  return made;
}

template <class... Policies>
void expect(const relpos::options& opts, const Policies&... policies) {
  support::expect_device<64>(in(), opts, policies...);
}

TEST_F(device_policies, linear_biases) {
  expect({}, relpos::alibi_symmetric{slopes});
  expect({}, relpos::alibi_two_sided{slopes, slopes});
  expect({}, relpos::alibi_offset{slopes});
  expect({}, relpos::alibi_one_sided{slopes});
}

TEST_F(device_policies, tabulated_biases) {
  std::vector<float> table(64);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7) * 0.3f;
  expect({}, relpos::t5_bias{table, relpos::bidirectional});
  expect({}, relpos::t5_bias{table, relpos::unidirectional}, relpos::causal{});
  expect({.key_offset = -1000}, relpos::t5_bias{table, relpos::bidirectional});
  const auto wave = [](index_t head, index_t distance) {
    return std::sin(0.1 * static_cast<double>(distance)) * static_cast<double>(head + 1);
  };
  expect({}, relpos::relative_bias{wave}, relpos::causal{});
  expect({}, relpos::relative_bias{wave}, relpos::alibi{slopes});
  const device_array<float> gates(support::random_tensor({1, 2, 2, 70}, 5).values);
  const relpos::view<const float, 3> of_rows(gates.data(), {2, 2, 70});
  expect({}, relpos::gated_bias{of_rows, relpos::relative_bias{wave}});
}

TEST_F(device_policies, matrices) {
  const device_array<float> numbers(support::random_tensor({1, 2, 70, 150}, 3).values);
  const relpos::view<const float, 4> matrix(numbers.data(), {1, 2, 70, 150});
  expect({}, relpos::additive_bias{matrix}, relpos::causal{});
}

TEST_F(device_policies, masks_of_ranges) {
  expect({}, relpos::band{20, 3});
  expect({}, relpos::blockwise_causal{32});
  expect({}, relpos::chunked_causal{32});
  expect({}, relpos::block_lower{16});
  expect({}, relpos::prefix{90});
  const device_array<index_t> starts{0, 40, 41, 120};
  expect({}, relpos::documents{starts, relpos::causal{}});
  const device_array<index_t> padding{0, 100};
  using list = relpos::view<const index_t, 2>;
  std::vector<index_t> first, last;
  for (index_t position = 0; position < 150; ++position) {
    first.push_back(position * 7 % 90);
    last.push_back(position / 40 * 40 + 50);
  }
  expect({}, relpos::left_padding{padding, relpos::causal{}});
  expect({}, relpos::right_padding{padding});
  expect({}, relpos::key_ranges{list(first.data(), {1, 150}), list(last.data(), {1, 150})});
  expect({}, relpos::both{relpos::causal{}, relpos::band{50, 50}});
}

/// A window of the caller's, wider from head to head.
struct window_of_head {
  struct of_head {
    index_t reach;
    constexpr relpos::key_range visible_keys(index_t q_pos) const {
      return {q_pos - reach, q_pos + 1};
    }
  };
  constexpr of_head bind(index_t head) const { return {10 + 30 * head}; }
};

TEST_F(device_policies, masks_of_ranges_that_differ_between_heads) {
  const std::vector<float> of_heads{0.5f, 1.5f};
  expect({}, window_of_head{}, relpos::ssmax{of_heads});
  expect({.kernel = relpos::kernel_class::decode}, window_of_head{}, relpos::ssmax{of_heads});
}

/// The same, bound to a policy of its own type.
struct bound_window {
  index_t reach = 0;
  constexpr bound_window bind(index_t head) const { return {10 + 30 * head}; }
  constexpr relpos::key_range visible_keys(index_t q_pos) const {
    return {q_pos - reach, q_pos + 1};
  }
};

TEST_F(device_policies, a_mask_may_bind_to_its_own_type) {
  expect({}, bound_window{});
  expect({.kernel = relpos::kernel_class::decode}, bound_window{});
}

TEST_F(device_policies, masks_and_logit_scaling_of_heads_in_a_ragged_batch) {
  const auto rows = support::random_inputs<half>({.batch = 1,
                                                  .query_heads = 2,
                                                  .key_heads = 1,
                                                  .query_length = 78,
                                                  .key_length = 200,
                                                  .head_dim = 64,
                                                  .value_dim = 64},
                                                 9);
  const std::vector<index_t> queries{0, 0, 1, 4, 78};
  const std::vector<index_t> keys{0, 20, 60, 60, 200};
  const std::vector<float> of_heads{0.5f, 1.5f};
  const device_array<index_t> padding{0, 5, 0, 30};
  const relpos::options opts{.query_starts = queries, .key_starts = keys};
  support::expect_device<64>(rows, opts, window_of_head{}, relpos::ssmax{of_heads});
  support::expect_device<64>(rows, opts, relpos::left_padding{padding, relpos::causal{}},
                             relpos::ssmax{of_heads});
}

TEST_F(device_policies, masks_of_elements) {
  expect({}, relpos::either{relpos::band{10, 0}, relpos::sinks{4}}, relpos::causal{});
}

TEST_F(device_policies, temperatures_and_logit_scaling) {
  expect({}, relpos::temperature{0.7});
  const std::vector<float> of_heads{0.5f, 1.5f};
  expect({}, relpos::head_temperature{of_heads}, relpos::causal{});
  expect({}, relpos::log_n{16}, relpos::causal{});
  expect({}, relpos::ssmax{of_heads}, relpos::alibi{slopes}, relpos::causal{});
  expect({}, relpos::position_log{0.1f, 16}, relpos::causal{});
  expect({}, relpos::position_power{0.1, 16}, relpos::causal{});
  expect({}, relpos::head_position_log{of_heads, of_heads}, relpos::causal{});
}

/// Rows are rounded once more when they are rotated. Three times the error of the sums of
/// exponentials when rows are rotated by RoPE and rounded before a call without a rotation: twice,
/// and as much again for XPOS, of which that cannot be had.
double error_of_rotated_rows() {
  const auto layout = relpos::pair_layout::half_split;
  const auto frequencies = relpos::rope_frequencies(64);
  const relpos::rotary_table rope(frequencies, layout);
  support::inputs<half> rotated = in();
  EXPECT_TRUE(relpos::rotate(rotated.q.view(), frequencies, layout, 80));
  EXPECT_TRUE(relpos::rotate(rotated.k.view(), frequencies, layout, 0));
  const auto sums = [](const support::inputs<half>& of, const auto&... policies) {
    std::vector<double> out, lse;
    support::run_reference(out, lse, of.q.view(), of.k.view(), of.v.view(), {}, policies...);
    return lse;
  };
  const auto& rounded = rotated;
  const std::vector<double> exact = sums(in(), relpos::rotary{rope}, relpos::causal{});
  const std::vector<double> naive = sums(rounded, relpos::causal{});
  double largest = 0.0;
  for (std::size_t i = 0; i < exact.size(); ++i) {
    largest = std::max(largest, std::abs(naive[i] - exact[i]));
  }
  return 3.0 * largest;
}

template <class Mask>
void expect_rotated(const relpos::rotary_table& table, const relpos::options& opts,
                    const Mask& mask, index_t first_channel = 0) {
  static const double score_error = error_of_rotated_rows();
  const relpos::rotary rotation{table, first_channel};
  const auto got = support::attend_on_device<64>(in(), opts, rotation, mask);
  support::expect_device_reference(got, in(), score_error, opts, rotation, mask);
}

TEST_F(device_policies, rotations) {
  const relpos::rotary_table rope(relpos::rope_frequencies(64), relpos::pair_layout::half_split);
  const relpos::rotary_table partial(relpos::rope_frequencies(32),
                                     relpos::pair_layout::interleaved);
  const relpos::rotary_table xpos(relpos::xpos_frequencies(64), relpos::pair_layout::interleaved);
  for (const relpos::index_t offset :
       {index_t{0}, index_t{450}, index_t{-100}, (index_t{1} << 40) + 400}) {
    const relpos::options opts{.key_offset = offset};
    expect_rotated(rope, opts, relpos::causal{});
    expect_rotated(partial, opts, relpos::causal{});
    expect_rotated(partial, opts, relpos::causal{}, 32);
    expect_rotated(xpos, opts, relpos::causal{});
    expect_rotated(xpos, opts, relpos::blockwise_causal{32});
  }
  // Keys on both sides of an edge of blocks, in chunks.
  const relpos::options decode{.key_offset = 450, .kernel = relpos::kernel_class::decode};
  expect_rotated(xpos, decode, relpos::causal{});
  expect_rotated(partial, decode, relpos::causal{}, 17);
}

TEST_F(device_policies, options) {
  expect({.scale = 0.3f, .softcap = 5.0f}, relpos::alibi{slopes}, relpos::causal{});
  const std::vector<float> sinks{1.0f, -2.0f};
  expect({}, relpos::sink_logits{sinks}, relpos::causal{});
  // No row sees a key.
  expect({.query_offset = -500}, relpos::sink_logits{sinks}, relpos::causal{});
  expect({.query_offset = -500}, relpos::causal{});
}

}  // namespace
