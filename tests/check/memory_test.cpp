// Refusals of the memory that arguments point at: null, strides, overlap.

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "check/attention_call.hpp"

namespace {

using relpos::index_t;
using relpos::status_code;
using relpos::view;
using relpos_test::attention_call;

TEST(check_null, tensors_with_elements_have_data) {
  attention_call call;
  call.q.data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"q: ", "null", "[2, 4, 3, 8]"}));
  call.q.data = call.q_values.data();
  call.k.data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"k: ", "null", "[2, 2, 5, 8]"}));
  call.k.data = call.k_values.data();
  call.v.data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"v: ", "null", "[2, 2, 5, 6]"}));
  call.v.data = call.v_values.data();
  call.out.data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"out: ", "null", "[2, 4, 3, 6]"}));
  call.out.data = call.out_values.data();
  call.opts.lse->data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"lse: ", "null", "[2, 4, 3]"}));
}

TEST(check_statistics, are_checked_like_lse) {
  attention_call call;
  std::vector<float> values(2 * 4 * 3);
  auto& entropy = call.opts.statistics.entropy;
  entropy = view<float, 3>(values.data(), {2, 4, 3});
  EXPECT_TRUE(call.run());
  call.out_values.assign(call.out_values.size(), attention_call::pattern);
  call.lse_values.assign(call.lse_values.size(), attention_call::pattern);
  entropy->shape = {2, 4, 2};
  EXPECT_TRUE(call.refuses(status_code::invalid_shape,
                           {"statistics.entropy: ", "[2, 4, 2]", "must be [2, 4, 3]"}));
  entropy->shape = {2, 4, 3};
  entropy->strides = {0, 3, 1};
  EXPECT_TRUE(call.refuses(status_code::invalid_stride, {"statistics.entropy: "}));
  entropy->strides = {12, 3, 1};
  entropy->data = nullptr;
  EXPECT_TRUE(call.refuses(status_code::null_data, {"statistics.entropy: ", "null"}));
  entropy->data = call.lse_values.data() + 23;
  EXPECT_TRUE(call.refuses(status_code::overlap, {"lse", "overlaps statistics.entropy"}));
  entropy->data = call.out_values.data();
  EXPECT_TRUE(call.refuses(status_code::overlap, {"out", "overlaps statistics.entropy"}));
  entropy->data = call.k_values.data();
  EXPECT_TRUE(call.refuses(status_code::overlap, {"statistics.entropy", "overlaps k"}));
  entropy->data = values.data();
  call.opts.statistics.logit_mean = entropy;
  EXPECT_TRUE(
      call.refuses(status_code::overlap, {"statistics.entropy", "overlaps statistics.logit_mean"}));
}

TEST(check_null, empty_tensors_need_none) {
  attention_call call;
  call.k = view<const float, 4>(nullptr, {2, 2, 0, 8});
  call.v = view<const float, 4>(nullptr, {2, 2, 0, 6});
  EXPECT_TRUE(call.run());

  attention_call nothing;
  nothing.q = view<const float, 4>(nullptr, {2, 4, 0, 8});
  nothing.out = view<float, 4>(nullptr, {2, 4, 0, 6});
  nothing.opts.lse = view<float, 3>(nullptr, {2, 4, 0});
  EXPECT_TRUE(nothing.run());
}

TEST(check_null, an_empty_lse_is_not_asked_for) {
  attention_call call;
  call.opts.lse.reset();
  EXPECT_TRUE(call.run());
  for (const float value : call.lse_values) EXPECT_EQ(value, attention_call::pattern);
  for (const float value : call.out_values) EXPECT_NE(value, attention_call::pattern);
}

TEST(check_null, an_lse_that_is_given_has_a_shape) {
  attention_call call;
  call.opts.lse = view<float, 3>();
  EXPECT_TRUE(
      call.refuses(status_code::invalid_shape, {"options.lse: ", "[0, 0, 0]", "[2, 4, 3]"}));
}

TEST(check_strides, what_no_address_can_reach_is_refused) {
  constexpr index_t far = std::numeric_limits<index_t>::max();
  for (const index_t stride : {far, -far - 1, index_t{1} << 60}) {
    attention_call call;
    call.k.strides[1] = stride;
    EXPECT_TRUE(call.refuses(status_code::invalid_shape, {"k: ", "[2, 2, 5, 8]", "2^56"}));
    attention_call output;
    output.out.strides[0] = stride;
    EXPECT_TRUE(output.refuses(status_code::invalid_shape, {"out: ", "[2, 4, 3, 6]", "2^56"}));
  }
  for (const std::array<index_t, 4> shape : {std::array<index_t, 4>{far, far, 1, 8},
                                             {index_t{1} << 40, index_t{1} << 40, 1, 1},
                                             {index_t{1} << 32, index_t{1} << 32, 0, 1}}) {
    attention_call call;
    call.q.shape = shape;
    call.q.strides = {0, 0, 0, 1};
    EXPECT_TRUE(call.refuses(status_code::invalid_shape, {"q: ", "2^56"}));
    EXPECT_EQ(relpos::workspace_bytes(relpos::serial{}, call.q, call.k, call.v), 0u);
  }
}

TEST(check_strides, elements_of_out_do_not_share_memory) {
  attention_call call;
  call.out.strides = {0, 18, 6, 1};
  EXPECT_TRUE(call.refuses(status_code::invalid_stride,
                           {"out: ", "strides [0, 18, 6, 1]", "shape [2, 4, 3, 6]"}));
  call.out.strides = {72, 18, 5, 1};  // the last channel of a row is the first of the next
  EXPECT_TRUE(call.refuses(status_code::invalid_stride, {"out: ", "[72, 18, 5, 1]"}));
  call.out.strides = {72, -18, 6, 0};
  EXPECT_TRUE(call.refuses(status_code::invalid_stride, {"out: ", "[72, -18, 6, 0]"}));
  call.out.strides = {1, 1, 1, 1};
  EXPECT_TRUE(call.refuses(status_code::invalid_stride, {"out: ", "[1, 1, 1, 1]"}));
}

TEST(check_strides, elements_of_lse_do_not_share_memory) {
  attention_call call;
  call.opts.lse->strides = {12, 3, 0};
  EXPECT_TRUE(call.refuses(status_code::invalid_stride,
                           {"lse: ", "strides [12, 3, 0]", "shape [2, 4, 3]"}));
  call.opts.lse->strides = {12, 2, 1};
  EXPECT_TRUE(call.refuses(status_code::invalid_stride, {"lse: ", "[12, 2, 1]"}));
}

/// out as the contiguous call has it, in the order of its indices.
std::vector<float> contiguous_result() {
  attention_call call;
  EXPECT_TRUE(call.run());
  return call.out_values;
}

template <class T>
std::vector<float> in_index_order(const view<T, 4>& array) {
  std::vector<float> values;
  for (index_t b = 0; b < array.shape[0]; ++b) {
    for (index_t h = 0; h < array.shape[1]; ++h) {
      for (index_t row = 0; row < array.shape[2]; ++row) {
        for (index_t c = 0; c < array.shape[3]; ++c) values.push_back(array(b, h, row, c));
      }
    }
  }
  return values;
}

TEST(check_strides, out_may_have_any_order_of_axes_gaps_and_direction) {
  const std::vector<float> wanted = contiguous_result();
  attention_call call;
  call.out_values.assign(2000, attention_call::pattern);

  call.out = view<float, 4>(call.out_values.data(), {2, 4, 3, 6}, {72, 6, 24, 1});
  EXPECT_TRUE(call.run());
  EXPECT_EQ(in_index_order(call.out), wanted);

  call.out = view<float, 4>(call.out_values.data(), {2, 4, 3, 6}, {1, 2, 8, 24});
  EXPECT_TRUE(call.run());
  EXPECT_EQ(in_index_order(call.out), wanted);

  call.out = view<float, 4>(call.out_values.data() + 1999, {2, 4, 3, 6}, {-720, -180, -60, -10});
  EXPECT_TRUE(call.run());
  EXPECT_EQ(in_index_order(call.out), wanted);
}

TEST(check_strides, the_stride_of_an_axis_of_extent_one_does_not_matter) {
  attention_call call;
  call.q.shape[0] = call.k.shape[0] = call.v.shape[0] = call.out.shape[0] = 1;
  call.opts.lse->shape[0] = 1;
  call.out.strides[0] = call.opts.lse->strides[0] = 0;
  EXPECT_TRUE(call.run());
}

TEST(check_strides, inputs_may_be_reversed_and_broadcast) {
  attention_call plain;
  attention_call strided;
  // Two reversals cancel; one row for all keys is that row repeated.
  std::vector<float> reversed(strided.q_values.rbegin(), strided.q_values.rend());
  strided.q =
      view<const float, 4>(reversed.data() + reversed.size() - 1, {2, 4, 3, 8}, {-96, -24, -8, -1});
  for (index_t row = 0; row < 5; ++row) {
    for (index_t batch_and_head = 0; batch_and_head < 4; ++batch_and_head) {
      for (index_t c = 0; c < 8; ++c) {
        plain.k_values[static_cast<std::size_t>((batch_and_head * 5 + row) * 8 + c)] =
            plain.k_values[static_cast<std::size_t>(batch_and_head * 40 + c)];
      }
    }
  }
  strided.k.strides[2] = 0;
  EXPECT_TRUE(plain.run());
  EXPECT_TRUE(strided.run());
  EXPECT_EQ(strided.out_values, plain.out_values);
  EXPECT_EQ(strided.lse_values, plain.lse_values);
}

/// A view of `shape` at element `at` of one block that all arguments share.
struct shared_block {
  attention_call call;
  std::vector<float> block = std::vector<float>(4096, attention_call::pattern);

  template <int Rank>
  view<float, Rank> at(index_t element, std::array<index_t, Rank> shape) {
    return {block.data() + element, shape};
  }
  testing::AssertionResult refuses(std::initializer_list<std::string> words) {
    const std::vector<float> before = block;
    testing::AssertionResult result = call.refuses(status_code::overlap, words);
    if (block != before) return testing::AssertionFailure() << "memory was written";
    return result;
  }
};

TEST(check_overlap, out_does_not_overlap_what_is_read) {
  shared_block shared;
  attention_call& call = shared.call;
  call.out = shared.at<4>(1000, {2, 4, 3, 6});  // [1000, 1144)

  call.q = shared.at<4>(1000 - 192 + 1, {2, 4, 3, 8});
  EXPECT_TRUE(shared.refuses({"out: ", "[2, 4, 3, 6]", "q [2, 4, 3, 8]"}));
  call.q = shared.at<4>(1143, {2, 4, 3, 8});
  EXPECT_TRUE(shared.refuses({"out: ", "[2, 4, 3, 6]", "q [2, 4, 3, 8]"}));
  call.q = view<const float, 4>(call.q_values.data(), {2, 4, 3, 8});

  call.k = shared.at<4>(1000 - 160 + 1, {2, 2, 5, 8});
  EXPECT_TRUE(shared.refuses({"out: ", "[2, 4, 3, 6]", "k [2, 2, 5, 8]"}));
  call.k = view<const float, 4>(call.k_values.data(), {2, 2, 5, 8});

  call.v = shared.at<4>(1143, {2, 2, 5, 6});
  EXPECT_TRUE(shared.refuses({"out: ", "[2, 4, 3, 6]", "v [2, 2, 5, 6]"}));
}

TEST(check_overlap, in_place_is_refused) {
  attention_call call;
  call.v.shape[3] = call.out.shape[3] = 5;
  call.out.data = call.q_values.data();
  EXPECT_TRUE(call.refuses(status_code::overlap, {"out: ", "[2, 4, 3, 5]", "q [2, 4, 3, 8]"}));
}

TEST(check_overlap, lse_does_not_overlap_what_is_read_nor_out) {
  shared_block shared;
  attention_call& call = shared.call;
  call.opts.lse = shared.at<3>(1000, {2, 4, 3});  // [1000, 1024)

  call.q = shared.at<4>(1023, {2, 4, 3, 8});
  EXPECT_TRUE(shared.refuses({"lse: ", "[2, 4, 3]", "q [2, 4, 3, 8]"}));
  call.q = view<const float, 4>(call.q_values.data(), {2, 4, 3, 8});

  call.k = shared.at<4>(1000 - 160 + 1, {2, 2, 5, 8});
  EXPECT_TRUE(shared.refuses({"lse: ", "[2, 4, 3]", "k [2, 2, 5, 8]"}));
  call.k = view<const float, 4>(call.k_values.data(), {2, 2, 5, 8});

  call.v = shared.at<4>(1010, {2, 2, 5, 6});
  EXPECT_TRUE(shared.refuses({"lse: ", "[2, 4, 3]", "v [2, 2, 5, 6]"}));
  call.v = view<const float, 4>(call.v_values.data(), {2, 2, 5, 6});

  call.out = shared.at<4>(1000 - 144 + 1, {2, 4, 3, 6});
  EXPECT_TRUE(shared.refuses({"lse: ", "[2, 4, 3]", "out [2, 4, 3, 6]"}));
}

TEST(check_overlap, negative_strides_reach_below_the_pointer) {
  shared_block shared;
  attention_call& call = shared.call;
  call.out = view<float, 4>(shared.block.data() + 1143, {2, 4, 3, 6}, {-72, -18, -6, -1});
  call.q = shared.at<4>(1000 - 192 + 1, {2, 4, 3, 8});
  EXPECT_TRUE(shared.refuses({"out: ", "q [2, 4, 3, 8]"}));
}

TEST(check_overlap, neighbours_do_not_overlap) {
  shared_block shared;
  attention_call& call = shared.call;
  std::copy(call.q_values.begin(), call.q_values.end(), shared.block.begin() + 1000 - 192);
  std::copy(call.k_values.begin(), call.k_values.end(), shared.block.begin() + 1144);
  call.out = shared.at<4>(1000, {2, 4, 3, 6});
  call.q = shared.at<4>(1000 - 192, {2, 4, 3, 8});
  call.k = shared.at<4>(1144, {2, 2, 5, 8});
  const relpos::status done = call.run();
  EXPECT_TRUE(done) << done.message;
  EXPECT_EQ(in_index_order(call.out), contiguous_result());
}

/// [batch, head, query, channels of q and of out]: no element is shared, and none of q changes.
TEST(check_overlap, out_may_be_woven_between_the_rows_of_q) {
  for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    attention_call plain;
    plain.opts.kernel = kernel;
    ASSERT_TRUE(plain.run());
    shared_block shared;
    attention_call& call = shared.call;
    call.opts.kernel = kernel;
    const std::array<index_t, 4> strides{4 * 3 * 14, 3 * 14, 14, 1};
    for (index_t at = 0; at < 2 * 4 * 3 * 8; ++at) {
      shared.block[static_cast<std::size_t>(at / 8 * 14 + at % 8)] =
          call.q_values[static_cast<std::size_t>(at)];
    }
    std::vector<float> expected = shared.block;
    for (index_t at = 0; at < 2 * 4 * 3 * 6; ++at) {
      expected[static_cast<std::size_t>(at / 6 * 14 + 8 + at % 6)] =
          plain.out_values[static_cast<std::size_t>(at)];
    }
    call.q = view<const float, 4>(shared.block.data(), {2, 4, 3, 8}, strides);
    call.out = view<float, 4>(shared.block.data() + 8, {2, 4, 3, 6}, strides);
    const relpos::status done = call.run();
    EXPECT_TRUE(done) << done.message;
    EXPECT_EQ(shared.block, expected);
  }
}

TEST(check_overlap, out_woven_one_channel_off_is_refused) {
  const std::array<index_t, 4> strides{4 * 3 * 14, 3 * 14, 14, 1};
  for (const index_t first : {7, 9}) {
    shared_block shared;
    attention_call& call = shared.call;
    call.q = view<const float, 4>(shared.block.data(), {2, 4, 3, 8}, strides);
    call.out = view<float, 4>(shared.block.data() + first, {2, 4, 3, 6}, strides);
    EXPECT_TRUE(shared.refuses({"out: ", "[2, 4, 3, 6]", "overlaps q [2, 4, 3, 8]"}));
  }
}

TEST(check_overlap, workspace_does_not_overlap_a_tensor) {
  shared_block shared;
  attention_call& call = shared.call;
  const std::size_t bytes = relpos::workspace_bytes(relpos::serial{}, call.q, call.k, call.v);
  shared.block.assign(bytes / sizeof(float) + 1000, attention_call::pattern);
  const relpos::workspace memory(shared.block.data(), bytes);
  const std::vector<float> before = shared.block;
  const auto refused = [&](std::initializer_list<std::string> words) {
    const relpos::status done =
        relpos::attention(relpos::serial{}, memory, call.out, call.q, call.k, call.v, call.opts);
    if (shared.block != before) return testing::AssertionFailure() << "memory was written";
    return call.explains(done, status_code::overlap, words);
  };
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  const view<const float, 4> q = call.q;
  call.q = shared.at<4>(100, {2, 4, 3, 8});
  EXPECT_TRUE(refused({"workspace: ", "q [2, 4, 3, 8]"}));
  call.q = q;
  const view<float, 4> out = call.out;
  call.out = shared.at<4>(static_cast<index_t>(bytes / sizeof(float)) - 1, {2, 4, 3, 6});
  EXPECT_TRUE(refused({"workspace: ", "out [2, 4, 3, 6]"}));
  call.out = out;
  call.opts.lse = shared.at<3>(0, {2, 4, 3});
  EXPECT_TRUE(refused({"workspace: ", "options.lse [2, 4, 3]"}));
}

TEST(check_overlap, workspace_does_not_overlap_the_data_of_a_policy) {
  attention_call call;
  std::fill(call.memory.begin(), call.memory.end(), attention_call::filler);
  std::vector<float> memory(100000, 1.0f);
  const std::span<const float> slopes(memory.data() + 3, 4);
  const relpos::alibi alibi{slopes};
  const relpos::status done = relpos::attention(
      relpos::serial{}, relpos::workspace(memory.data(), memory.size() * sizeof(float)), call.out,
      call.q, call.k, call.v, alibi, call.opts);
  EXPECT_TRUE(call.explains(done, status_code::overlap,
                            {"workspace: ", "overlaps the range that the data of a policy spans"}));
  EXPECT_EQ(memory[3], 1.0f);
}

TEST(check_overlap, inputs_may_share_their_memory) {
  attention_call call;
  call.v = call.k;
  call.out.shape[3] = 8;
  call.out_values.resize(2 * 4 * 3 * 8);
  call.out = view<float, 4>(call.out_values.data(), {2, 4, 3, 8});
  EXPECT_TRUE(call.run());
}

}  // namespace
