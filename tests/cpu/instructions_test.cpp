// How many instructions a score costs, and a call beside its scores, against figures that were
// recorded: a policy that is no longer inlined, an accumulator that no longer fits in a register,
// or a check that repeats itself shows here and on no clock.

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "relpos/attention.hpp"
#include "relpos/cpu/prefill/geometry.hpp"
#include "relpos/policies.hpp"
#include "support/count_instructions.hpp"
#include "support/golden.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;

// One group and a part of a tile: a step takes microseconds, and tens of them in a virtual machine.
constexpr index_t queries = relpos::geometry<relpos::native>::group_rows;
constexpr index_t few_keys = 32;
constexpr index_t many_keys = 64;
constexpr index_t head_dim = 8;

/// Of a call of so many queries over so many keys, all visible.
template <class... Policies>
std::optional<long> instructions(index_t rows, index_t keys, relpos::options opts,
                                 const Policies&... policies) {
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 1,
                                          .key_heads = 1,
                                          .query_length = rows,
                                          .key_length = keys,
                                          .head_dim = head_dim,
                                          .value_dim = head_dim},
                                         3);
  support::tensor<float> out({1, 1, rows, head_dim});
  if (!opts.query_offset) opts.query_offset = many_keys;
  opts.kernel = relpos::kernel_class::prefill;  // where a group of queries is small, too
  std::vector<std::byte> memory(relpos::workspace_bytes(relpos::serial(), in.q.view(), in.k.view(),
                                                        in.v.view(), policies...));
  const auto call = [&] {
    return relpos::attention(relpos::serial(), memory, out.view(), in.q.view(), in.k.view(),
                             in.v.view(), policies..., opts);
  };
  // The first call of a program also finds the functions of the C library.
  const relpos::status done = call();
  EXPECT_TRUE(done) << done.message;
  return support::count_instructions([&] { (void)call(); });
}

/// The compiler, its flags and the instruction set: what figures are recorded for.
std::string recorded_set() {
#if defined(__clang__)
  const std::string compiler = "clang++ " + std::to_string(__clang_major__);
#else
  const std::string compiler = "g++ " + std::to_string(__GNUC__);
#endif
  return compiler + " " RELPOS_TEST_FLAGS ", " + relpos::native::name;
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
std::optional<counted_calls> count_calls(const relpos::options& opts, const Policies&... policies) {
  const std::optional<long> few = instructions(queries, few_keys, opts, policies...);
  const std::optional<long> many = instructions(queries, many_keys, opts, policies...);
  if (!few || *few < 1000 || !many) return std::nullopt;
  return counted_calls{*few, *many};
}

/// What the keys in which the two calls differ cost, over their scores; what is prepared for them
/// is in it.
template <class... Policies>
void expect_as_recorded(const char* name, const relpos::options& opts,
                        const Policies&... policies) {
  const auto figures = recorded("per_score");
  if (!figures) GTEST_SKIP() << "nothing is recorded for " << recorded_set();
  const auto counted = count_calls(opts, policies...);
  if (!counted) GTEST_SKIP() << "there is no way to count here";
  const double per_score =
      static_cast<double>(counted->many - counted->few) / (queries * (many_keys - few_keys));
  const auto expected = figures->at(name).get<double>();
  EXPECT_NEAR(per_score, expected, 0.05 * expected) << recorded_set() << ", " << name;
}

const std::vector<float> slopes{0.5f};

TEST(instructions_per_score, without_a_policy) { expect_as_recorded("none", {}); }
TEST(instructions_per_score, causal) { expect_as_recorded("causal", {}, relpos::causal{}); }
// The last keys are on the diagonal.
TEST(instructions_per_score, diagonal) {
  expect_as_recorded("diagonal", {.query_offset = few_keys}, relpos::causal{});
}
TEST(instructions_per_score, statistics) {
  support::tensor<float, 3> entropy({1, 1, queries});
  support::tensor<float, 3> variance({1, 1, queries});
  expect_as_recorded(
      "statistics", {.statistics = {.entropy = entropy.view(), .logit_variance = variance.view()}});
}
TEST(instructions_per_score, alibi) { expect_as_recorded("alibi", {}, relpos::alibi{slopes}); }
TEST(instructions_per_score, t5) {
  std::vector<float> table(32, 0.5f);
  expect_as_recorded("t5", {}, relpos::t5_bias{table, relpos::bidirectional});
}
TEST(instructions_per_score, relative_bias) {
  const auto bias = [](index_t, index_t distance) {
    return 0.01 * static_cast<double>(distance % 7);
  };
  expect_as_recorded("relative_bias", {}, relpos::relative_bias{bias});
}
TEST(instructions_per_score, rotary) {
  const relpos::rotary_table table(relpos::rope_frequencies(head_dim),
                                   relpos::pair_layout::half_split);
  expect_as_recorded("rotary", {}, relpos::rotary{table});
}
TEST(instructions_per_score, alibi_with_t5_and_causal) {
  std::vector<float> table(32, 0.5f);
  expect_as_recorded("alibi, t5, causal", {}, relpos::alibi{slopes},
                     relpos::t5_bias{table, relpos::unidirectional}, relpos::causal{});
}
TEST(instructions_per_score, softcap) { expect_as_recorded("softcap", {.softcap = 30.0f}); }

// Checks, workspace, packing and the end of rows.
TEST(instructions_per_row, beside_its_scores) {
  const auto figure = recorded("per_row");
  if (!figure) GTEST_SKIP() << "nothing is recorded for " << recorded_set();
  const auto counted = count_calls({}, relpos::causal{});
  if (!counted) GTEST_SKIP() << "there is no way to count here";
  static_assert(many_keys == 2 * few_keys);
  const double per_row = static_cast<double>(2 * counted->few - counted->many) / queries;
  const auto expected = figure->get<double>();
  EXPECT_NEAR(per_row, expected, 0.05 * expected) << recorded_set();
}

/// What an lse costs a call of so many queries: its checks, and a logarithm for each.
std::optional<long> instructions_of_lse(index_t rows) {
  support::tensor<float, 3> lse({1, 1, rows});
  const auto without = instructions(rows, few_keys, {}, relpos::causal{});
  const auto with = instructions(rows, few_keys, {.lse = lse.view()}, relpos::causal{});
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
