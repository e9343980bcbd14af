// The lowest float as a bias, as matrices that hide keys by a large number have it: a row in which
// every key has it is the mean of its values, however often it is added, and its lse is the true
// number where float32 holds it.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "relpos/policies.hpp"
#include "support/attend.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;

constexpr float lowest = std::numeric_limits<float>::lowest();
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr index_t heads = 2;
constexpr index_t keys = 300;
constexpr index_t queries = 5;  // of which the first `extreme` are made of such biases
constexpr index_t channels = 16;

/// Adds its number to each key.
struct constant_bias {
  float number;

  template <class Real>
  Real bias(Real) const {
    return Real(number);
  }
};

struct expected_row {
  std::vector<bool> counts;  // the keys whose mean the row is
  float lse;
};

class lowest_bias : public testing::TestWithParam<kernel_class> {
 protected:
  lowest_bias()
      : in(support::random_inputs({.query_heads = heads,
                                   .key_heads = 1,
                                   .query_length = queries,
                                   .key_length = keys,
                                   .head_dim = channels,
                                   .value_dim = channels},
                                  31)),
        matrix({1, 1, queries, keys}) {
    for (float& each : matrix.values) each = lowest;
  }

  relpos::additive_bias bias() const { return relpos::additive_bias{matrix.view()}; }
  float& at(index_t row, index_t key) { return matrix.view()(0, 0, row, key); }

  template <class... Policies>
  support::attended<float> attend(const Policies&... policies) const {
    return support::attend(in, {.kernel = GetParam()}, policies...);
  }

  /// Row `row` of every head is the mean of the values that `counts` names.
  void expect_mean(
      const support::attended<float>& got, index_t row, float lse,
      const std::function<bool(index_t)>& counts = [](index_t) { return true; }) {
    for (index_t head = 0; head < heads; ++head) {
      for (index_t c = 0; c < channels; ++c) {
        double sum = 0;
        double count = 0;
        for (index_t key = 0; key < keys; ++key) {
          if (!counts(key)) continue;
          sum += static_cast<double>(in.v(0, 0, key, c));
          ++count;
        }
        EXPECT_NEAR(got.out(0, head, row, c), sum / count, 1e-5) << "row " << row;
      }
      EXPECT_EQ(got.lse(0, head, row), lse) << "row " << row;
    }
  }

  support::inputs<float> in;
  support::tensor<float> matrix;
};

TEST_P(lowest_bias, alone_and_added_to_itself) {
  // ln n is lost beside it; twice the lowest float is no float32.
  const auto once = attend(bias());
  const auto twice = attend(bias(), bias());
  const auto thrice = attend(bias(), bias(), bias());
  for (index_t row = 0; row < queries; ++row) {
    expect_mean(once, row, lowest);
    expect_mean(twice, row, lowest);
    expect_mean(thrice, row, lowest);
  }
}

TEST_P(lowest_bias, under_a_temperature) {
  // 2 lowest / 4 is a float32 again, lowest / 0.5 is none.
  const auto warm = attend(bias(), bias(), relpos::temperature{4.0f});
  const auto cold = attend(bias(), relpos::temperature{0.5f});
  for (index_t row = 0; row < queries; ++row) {
    expect_mean(warm, row, lowest / 2);
    expect_mean(cold, row, lowest);
  }
}

TEST_P(lowest_bias, beside_other_biases_and_keys) {
  const std::vector<float> slopes{0.5f, 0.01f};
  const auto half_as_low = [](index_t, index_t) { return static_cast<double>(lowest) / 2; };
  // Row 0: lowest. Row 1: one key is not. Row 2: every second key is hidden. Row 3: all are. Row 4:
  // halves of the keys.
  at(1, 77) = 0.0f;
  for (index_t key = 0; key < keys; key += 2) at(2, key) = -infinity;
  for (index_t key = 0; key < keys; ++key) at(3, key) = -infinity;
  for (index_t key = 0; key < keys / 2; ++key) at(4, key) = lowest / 2;
  const auto check = [&](const support::attended<float>& got, float others, bool tells_lse) {
    expect_mean(got, 0, tells_lse ? lowest : got.lse(0, 0, 0));
    for (index_t c = 0; c < channels; ++c) {
      EXPECT_NEAR(got.out(0, 0, 1, c), in.v(0, 0, 77, c), 1e-6f);
      EXPECT_EQ(got.out(0, 0, 3, c), 0.0f);
    }
    expect_mean(got, 2, got.lse(0, 0, 2), [](index_t key) { return key % 2 == 1; });
    EXPECT_EQ(got.lse(0, 0, 3), -infinity);
    expect_mean(got, 4, others, [](index_t key) { return key < keys / 2; });
  };
  check(attend(bias(), relpos::alibi{slopes}, relpos::full{}), lowest / 2, true);
  check(attend(relpos::relative_bias{half_as_low}, bias()), lowest, true);
  check(attend(constant_bias{lowest / 2}, bias()), lowest, true);
}

TEST_P(lowest_bias, of_a_table_and_of_a_struct) {
  const auto function = [](index_t, index_t) { return static_cast<double>(lowest); };
  const auto tabulated = attend(relpos::relative_bias{function});
  const auto computed = attend(constant_bias{lowest}, relpos::relative_bias{function});
  for (index_t row = 0; row < queries; ++row) {
    expect_mean(tabulated, row, lowest);
    expect_mean(computed, row, lowest);
  }
}

TEST_P(lowest_bias, under_masks_and_sinks) {
  const auto causal = attend(bias(), bias(), relpos::causal{});
  const std::vector<float> sink{-3.0f, 2.0f};
  const auto with_sink = attend(bias(), relpos::sink_logits{sink});
  for (index_t row = 0; row < queries; ++row) {
    const index_t seen = keys - queries + row;
    expect_mean(causal, row, lowest, [&](index_t key) { return key <= seen; });
    for (index_t c = 0; c < channels; ++c) EXPECT_EQ(with_sink.out(0, 0, row, c), 0.0f);
    EXPECT_NEAR(with_sink.lse(0, 0, row), -3.0f, 1e-6f);
  }
}

// Rows that see nothing ask a user's function nothing more, and what is no number stays none.
TEST_P(lowest_bias, beside_hidden_rows_and_what_is_no_number) {
  index_t calls = 0;
  const auto counting = [&](index_t, index_t) {
    ++calls;
    return -1.0;
  };
  const auto calls_of = [&](float number) {
    for (float& each : matrix.values) each = number;
    const index_t before = calls;
    const auto got = attend(relpos::relative_bias{counting}, bias());
    EXPECT_EQ(got.lse(0, 0, 0) == -infinity, number == -infinity);
    return calls - before;
  };
  EXPECT_EQ(calls_of(-infinity), calls_of(0.0f));
  for (float& each : matrix.values) each = lowest;
  at(1, 50) = std::numeric_limits<float>::quiet_NaN();
  const auto got = attend(relpos::relative_bias{counting}, bias());
  EXPECT_TRUE(std::isnan(got.lse(0, 0, 1)));
  expect_mean(got, 0, lowest);
}

TEST_P(lowest_bias, of_many_keys_and_at_any_temperature) {
  constexpr index_t many = 200000;
  const support::tensor<float> q({1, 1, 1, 1});
  support::tensor<float> k({1, 1, many, 1});
  support::tensor<float> v({1, 1, many, 1});
  support::tensor<float> numbers({1, 1, 1, many});
  for (index_t key = 0; key < many; ++key) v.view()(0, 0, key, 0) = key % 2 == 0 ? 1.0f : 1.1f;
  const auto attend_prefill = [&](float number, float temperature) {
    for (float& each : numbers.values) each = number;
    support::tensor<float> out({1, 1, 1, 1});
    std::vector<std::byte> memory(1 << 20);
    const relpos::options opts{.kernel = GetParam()};
    const relpos::additive_bias matrix_of_many{numbers.view()};
    EXPECT_TRUE(relpos::attention(relpos::serial{}, memory, out.view(), q.view(), k.view(),
                                  v.view(), matrix_of_many, relpos::temperature{temperature},
                                  opts));
    return out(0, 0, 0, 0);
  };
  EXPECT_NEAR(attend_prefill(lowest, 1.0f), 1.05f, 2e-6f);
  EXPECT_NEAR(attend_prefill(-1e30f, 1e-10f), 1.05f, 2e-6f);
}

INSTANTIATE_TEST_SUITE_P(kernels, lowest_bias,
                         testing::Values(kernel_class::prefill, kernel_class::decode),
                         [](const auto& kind) {
                           return kind.param == kernel_class::prefill ? "prefill" : "decode";
                         });

}  // namespace
