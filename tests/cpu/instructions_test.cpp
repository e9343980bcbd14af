// How many instructions a score costs, and a call beside its scores, against figures that were
// recorded: a policy that is no longer inlined, an accumulator that no longer fits in a register,
// or a check that repeats itself shows here and on no clock.

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "cpu/counted_calls.hpp"
#include "support/count_instructions.hpp"
#include "support/golden.hpp"

namespace {

using counted::few_keys;
using counted::many_keys;
using counted::queries;
using counted::recorded_set;
using relpos::index_t;

template <class... Policies>
std::optional<long> instructions(const counted::call_size& size, const relpos::options& opts,
                                 const Policies&... policies) {
  return counted::with_call(
      size, opts,
      [](const auto& call) {
        // The first call of a program also finds the functions of the C library.
        const relpos::status done = call();
        EXPECT_TRUE(done) << done.message;
        return support::count_instructions([&] { (void)call(); });
      },
      policies...);
}

std::optional<nlohmann::json> recorded(const char* name) {
  const nlohmann::json all = support::golden("instructions.json").at(name);
  return all.contains(recorded_set()) ? std::optional(all.at(recorded_set())) : std::nullopt;
}

struct counted_calls {
  long few;   // over few_keys
  long many;  // over many_keys
};

/// Nothing where there is no way to count: a machine that ignores the trap flag tells one
/// instruction.
template <class... Policies>
std::optional<counted_calls> count_calls(index_t head_dim, const relpos::options& opts,
                                         const Policies&... policies) {
  const auto few = instructions({queries, few_keys, head_dim}, opts, policies...);
  const auto many = instructions({queries, many_keys, head_dim}, opts, policies...);
  if (!few || *few < 1000 || !many) return std::nullopt;
  return counted_calls{*few, *many};
}

/// The instructions of the keys in which the two calls differ, over their scores, with what is
/// prepared for them.
void expect_as_recorded(const char* name) {
  const auto figures = recorded("per_score");
  if (!figures) GTEST_SKIP() << "nothing is recorded for " << recorded_set();
  std::optional<counted_calls> calls;
  counted::with_named(name,
                      [&](index_t head_dim, const relpos::options& opts, const auto&... policies) {
                        calls = count_calls(head_dim, opts, policies...);
                      });
  if (!calls) GTEST_SKIP() << "there is no way to count here";
  const double per_score =
      static_cast<double>(calls->many - calls->few) / (queries * (many_keys - few_keys));
  const auto expected = figures->at(name).get<double>();
  EXPECT_NEAR(per_score, expected, 0.05 * expected) << recorded_set() << ", " << name;
}

TEST(instructions_per_score, without_a_policy) { expect_as_recorded("none"); }
TEST(instructions_per_score, causal) { expect_as_recorded("causal"); }
TEST(instructions_per_score, head_dim_64) { expect_as_recorded("causal, head_dim 64"); }
TEST(instructions_per_score, diagonal) { expect_as_recorded("diagonal"); }
TEST(instructions_per_score, statistics) { expect_as_recorded("statistics"); }
TEST(instructions_per_score, alibi) { expect_as_recorded("alibi"); }
TEST(instructions_per_score, t5) { expect_as_recorded("t5"); }
TEST(instructions_per_score, relative_bias) { expect_as_recorded("relative_bias"); }
TEST(instructions_per_score, rotary) { expect_as_recorded("rotary"); }
TEST(instructions_per_score, alibi_with_t5_and_causal) { expect_as_recorded("alibi, t5, causal"); }
TEST(instructions_per_score, softcap) { expect_as_recorded("softcap"); }

// Checks, workspace, packing and the end of rows.
TEST(instructions_per_row, beside_its_scores) {
  const auto figure = recorded("per_row");
  if (!figure) GTEST_SKIP() << "nothing is recorded for " << recorded_set();
  const auto calls = count_calls(counted::few_channels, {}, relpos::causal{});
  if (!calls) GTEST_SKIP() << "there is no way to count here";
  const double per_row = static_cast<double>(2 * calls->few - calls->many) / queries;
  const auto expected = figure->get<double>();
  EXPECT_NEAR(per_row, expected, 0.05 * expected) << recorded_set();
}

/// The instructions of an lse in a call of so many queries: its checks, and a logarithm for each.
std::optional<long> instructions_of_lse(index_t rows) {
  support::tensor<float, 3> lse({1, 1, rows});
  const counted::call_size size{rows, few_keys, counted::few_channels};
  const auto without = instructions(size, {}, relpos::causal{});
  const auto with = instructions(size, {.lse = lse.view()}, relpos::causal{});
  if (!without || *without < 1000 || !with) return std::nullopt;
  return *with - *without;
}

TEST(instructions_per_row, a_logarithm_only_for_an_lse) {
  if (!recorded("per_row")) GTEST_SKIP() << "nothing is recorded for " << recorded_set();
  const auto of_one = instructions_of_lse(1);
  const auto of_all = instructions_of_lse(queries);
  if (!of_one || !of_all) GTEST_SKIP() << "there is no way to count here";
  // One of the C library takes some 40.
  EXPECT_GT(*of_all - *of_one, 20 * (queries - 1));
}

}  // namespace
