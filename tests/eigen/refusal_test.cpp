// Calls over Eigen tensors that are refused: std::invalid_argument before `out` is touched.

#include <gtest/gtest.h>

#include <initializer_list>
#include <stdexcept>
#include <string>

#include "eigen/tensors.hpp"

namespace {

using relpos::options;
using relpos_test::lse_tensor;
using relpos_test::random_tensor;
using relpos_test::tensor;

struct eigen_call {
  static constexpr float pattern = -123456.0f;
  tensor q = random_tensor(2, 4, 3, 8, 1);
  tensor k = random_tensor(2, 2, 5, 8, 2);
  tensor v = random_tensor(2, 2, 5, 6, 3);
  tensor out = tensor(2, 4, 3, 6).setConstant(pattern);
  lse_tensor lse = lse_tensor(2, 4, 3).setConstant(pattern);

  Eigen::VectorXf slopes = Eigen::VectorXf::Zero(4);
  Eigen::Tensor<float, 2, Eigen::RowMajor> table{32, 4};

  // Always the same policies, so that one kernel is compiled.
  testing::AssertionResult refuses(std::initializer_list<std::string> words,
                                   const options& opts = {}) {
    try {
      relpos::attention(Eigen::DefaultDevice(), out, q, k, v, relpos::alibi{slopes},
                        relpos::t5_bias{table, relpos::bidirectional}, opts);
    } catch (const std::invalid_argument& refusal) {
      return explains(refusal.what(), words);
    }
    return testing::AssertionFailure() << "was not refused";
  }

  testing::AssertionResult explains(const std::string& message,
                                    std::initializer_list<std::string> words) const {
    if (message.find("relpos: ") != 0) return testing::AssertionFailure() << message;
    for (const std::string& word : words) {
      if (message.find(word) == std::string::npos) {
        return testing::AssertionFailure() << "no \"" << word << "\" in: " << message;
      }
    }
    for (Eigen::Index i = 0; i < out.size(); ++i) {
      if (out.data()[i] != pattern) return testing::AssertionFailure() << "out was written";
    }
    for (Eigen::Index i = 0; i < lse.size(); ++i) {
      if (lse.data()[i] != pattern) return testing::AssertionFailure() << "lse was written";
    }
    return testing::AssertionSuccess() << message;
  }
};

TEST(eigen_refusal, does_not_meet_what_fits) {
  eigen_call call;
  call.table.setZero();
  EXPECT_FALSE(call.refuses({}, {.lse = call.lse}));
  EXPECT_NE(call.out(1, 3, 2, 5), eigen_call::pattern);
  EXPECT_NE(call.lse(1, 3, 2), eigen_call::pattern);
}

TEST(eigen_refusal, keys_of_another_batch) {
  eigen_call call;
  call.k.resize(1, 2, 5, 8);
  EXPECT_TRUE(call.refuses({"k: ", "[1, 2, 5, 8]", "[2, 4, 3, 8]"}));
}

TEST(eigen_refusal, keys_of_another_head_dim) {
  eigen_call call;
  call.k.resize(2, 2, 5, 7);
  EXPECT_TRUE(call.refuses({"k: ", "[2, 2, 5, 7]", "[2, 4, 3, 8]"}));
}

TEST(eigen_refusal, query_heads_that_are_no_multiple) {
  eigen_call call;
  call.k.resize(2, 3, 5, 8);
  call.v.resize(2, 3, 5, 6);
  EXPECT_TRUE(call.refuses({"k: ", "multiple", "[2, 3, 5, 8]", "[2, 4, 3, 8]"}));
}

TEST(eigen_refusal, values_of_another_length) {
  eigen_call call;
  call.v.resize(2, 2, 4, 6);
  EXPECT_TRUE(call.refuses({"v: ", "[2, 2, 4, 6]", "[2, 2, 5, 8]"}));
}

// An Eigen assignment would resize it, or with NDEBUG write past its end.
TEST(eigen_refusal, out_of_another_shape) {
  eigen_call call;
  call.out = tensor(2, 4, 2, 6).setConstant(eigen_call::pattern);
  EXPECT_TRUE(call.refuses({"out: ", "[2, 4, 2, 6]", "[2, 4, 3, 6]"}));
  call.out = tensor(0, 0, 0, 0);
  EXPECT_TRUE(call.refuses({"out: ", "[0, 0, 0, 0]", "[2, 4, 3, 6]"}));
}

TEST(eigen_refusal, lse_of_another_shape) {
  eigen_call call;
  call.lse = lse_tensor(2, 4, 4).setConstant(eigen_call::pattern);
  EXPECT_TRUE(call.refuses({"lse: ", "[2, 4, 4]", "[2, 4, 3]"}, {.lse = call.lse}));
}

TEST(eigen_refusal, out_that_overlaps_q) {
  eigen_call call;
  call.q.setConstant(eigen_call::pattern);
  const tensor before = call.q;
  Eigen::TensorMap<tensor> out(call.q.data() + 10, 2, 4, 3, 6);
  std::string message;
  try {
    relpos::attention(Eigen::DefaultDevice(), out, call.q, call.k, call.v);
  } catch (const std::invalid_argument& refusal) {
    message = refusal.what();
  }
  EXPECT_TRUE(call.explains(message, {"out: ", "[2, 4, 3, 6]", "overlaps q [2, 4, 3, 8]"}));
  EXPECT_TRUE(relpos_test::same_bits(call.q, before));
}

TEST(eigen_refusal, options_out_of_range) {
  eigen_call call;
  EXPECT_TRUE(call.refuses({"options.softcap: "}, {.softcap = -1.0f, .lse = call.lse}));
}

// A table tensor tells its shape: the transposed one is refused although its size is right.
TEST(eigen_refusal, t5_table_of_the_wrong_shape) {
  eigen_call call;
  call.table.resize(4, 32);
  EXPECT_TRUE(call.refuses({"t5_bias: table is [4, 32]", "[num_buckets, heads] = [32, 4]"}));
}

TEST(eigen_refusal, alibi_slopes_for_other_heads) {
  eigen_call call;
  call.slopes.resize(2);
  EXPECT_TRUE(call.refuses({"alibi: 2 slopes", "4 heads"}));
}

TEST(eigen_refusal, partial_without_query_offset_or_of_another_shape) {
  eigen_call call;
  const auto message_of = [&](const options& opts) -> std::string {
    try {
      relpos::partial(Eigen::DefaultDevice(), {call.out, call.lse}, call.q, call.k, call.v, opts);
    } catch (const std::invalid_argument& refusal) {
      return refusal.what();
    }
    return "was not refused";
  };
  EXPECT_TRUE(call.explains(message_of({}), {"options.query_offset"}));
  call.out = tensor(2, 4, 2, 6).setConstant(eigen_call::pattern);
  EXPECT_TRUE(call.explains(message_of({.query_offset = 2}), {"[2, 4, 2, 6]", "[2, 4, 3, 6]"}));
}

TEST(eigen_refusal, merge_of_another_shape) {
  eigen_call call;
  tensor from(2, 4, 2, 6);
  std::string message;
  try {
    relpos::merge(Eigen::DefaultDevice(), {call.out, call.lse}, {from, call.lse});
  } catch (const std::invalid_argument& refusal) {
    message = refusal.what();
  }
  EXPECT_TRUE(call.explains(message, {"from.out: ", "[2, 4, 2, 6]", "[2, 4, 3, 6]"}));
}

TEST(eigen_refusal, of_the_returning_form_throws_too) {
  const eigen_call call;
  EXPECT_THROW(relpos::attention(call.q, call.v, call.k), std::invalid_argument);
}

}  // namespace
