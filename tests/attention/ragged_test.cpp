// A ragged batch: each sequence of rows is what it is in a call of its own.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/executors.hpp"
#include "support/reference.hpp"
#include "support/statistics.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::collected;
using support::inputs;
using support::tensor;

constexpr kernel_class kernels[] = {kernel_class::prefill, kernel_class::decode,
                                    kernel_class::automatic};
constexpr index_t heads = 4;
constexpr index_t key_heads = 2;
constexpr index_t value_dim = 5;

const std::vector<index_t> query_lengths{17, 0, 128, 1, 300, 2, 129, 1, 0, 1};
const std::vector<index_t> key_lengths{130, 9, 129, 0, 301, 128, 1, 1, 0, 1100};
constexpr index_t sequences = 10;

std::vector<index_t> starts_of(const std::vector<index_t>& lengths) {
  std::vector<index_t> result{0};
  for (const index_t length : lengths) result.push_back(result.back() + length);
  return result;
}
const std::vector<index_t> query_starts = starts_of(query_lengths);
const std::vector<index_t> key_starts = starts_of(key_lengths);

inputs<float> ragged_inputs() {
  return support::random_inputs({.batch = 1,
                                 .query_heads = heads,
                                 .key_heads = key_heads,
                                 .query_length = query_starts.back(),
                                 .key_length = key_starts.back(),
                                 .head_dim = 12,
                                 .value_dim = value_dim},
                                91);
}

using rows_view = relpos::view<const float, 4>;

/// A batch and what its sequences are, each with a batch of one.
struct batch_of {
  rows_view q, k, v;
  relpos::options lists;
  rows_view q_of(index_t at) const { return part(q, at, lists.query_starts); }
  rows_view k_of(index_t at) const { return part(k, at, lists.key_starts); }
  rows_view v_of(index_t at) const { return part(v, at, lists.key_starts); }

 private:
  static rows_view part(const rows_view& of, index_t at, const relpos::index_list& starts) {
    return starts.empty() ? of.slice(0, at, 1)
                          : of.slice(2, starts[at], starts[at + 1] - starts[at]);
  }
};

/// The rows of one sequence of what a batch wrote, [., head, row, ...].
template <std::size_t Rank>
tensor<float, Rank> sequence_of(const tensor<float, Rank>& from, const relpos::index_list& starts,
                                index_t at) {
  std::array<index_t, Rank> shape = from.shape;
  shape[0] = 1;
  if (!starts.empty()) shape[2] = starts[at + 1] - starts[at];
  tensor<float, Rank> result(shape);
  const index_t width = Rank == 4 ? shape.back() : 1;
  const index_t first = starts.empty() ? 0 : starts[at];
  for (index_t h = 0; h < shape[1]; ++h) {
    const index_t entry = starts.empty() ? at : 0;
    const index_t row = (entry * from.shape[1] + h) * from.shape[2] + first;
    std::copy_n(from.values.begin() + row * width, shape[2] * width,
                result.values.begin() + h * shape[2] * width);
  }
  return result;
}
attended<float> sequence_of(const attended<float>& from, const relpos::index_list& starts,
                            index_t at) {
  return {sequence_of(from.out, starts, at), sequence_of(from.lse, starts, at)};
}

/// Calls attend(batch, options, policies of one sequence), where `policies_of(at, use)` calls
/// use(policies...) with the policies of sequence `at`, or of the whole batch for -1.
template <class PoliciesOf>
void expect_sequences(const batch_of& batch, const PoliciesOf& policies_of) {
  for (const kernel_class kernel : kernels) {
    relpos::options opts = batch.lists;
    opts.kernel = kernel;
    attended<float> got;
    policies_of(-1, [&](const auto&... policies) {
      got = support::attend(batch.q, batch.k, batch.v, opts, policies...);
      const support::shuffled runner{3, 5};
      const auto again = support::attend_on(runner, batch.q, batch.k, batch.v, opts, policies...);
      EXPECT_TRUE(same_bits(again, got)) << "shuffled";
    });
    for (index_t at = 0; at < sequences; ++at) {
      SCOPED_TRACE(testing::Message() << "sequence " << at << ", kernel " << int(kernel));
      const relpos::options alone{.kernel = kernel};
      policies_of(at, [&](const auto&... policies) {
        const attended<float> rows = sequence_of(got, batch.lists.query_starts, at);
        EXPECT_TRUE(same_bits(rows, support::attend(batch.q_of(at), batch.k_of(at), batch.v_of(at),
                                                    alone, policies...)));
        expect_reference(rows, batch.q_of(at), batch.k_of(at), batch.v_of(at), alone, policies...);
      });
    }
  }
}

batch_of of_lists(const inputs<float>& in) {
  return {in.q.view(),
          in.k.view(),
          in.v.view(),
          {.query_starts = query_starts, .key_starts = key_starts}};
}

const auto no_policies = [](index_t, const auto& use) { use(); };

TEST(ragged, queries_and_keys) {
  const inputs<float> in = ragged_inputs();
  expect_sequences(of_lists(in), no_policies);
  const std::vector<std::int32_t> of_queries(query_starts.begin(), query_starts.end());
  const std::vector<std::int32_t> of_keys(key_starts.begin(), key_starts.end());
  batch_of narrow = of_lists(in);
  narrow.lists.query_starts = of_queries;
  narrow.lists.key_starts = of_keys;
  EXPECT_TRUE(same_bits(support::attend(narrow.q, narrow.k, narrow.v, narrow.lists),
                        support::attend(narrow.q, narrow.k, narrow.v, of_lists(in).lists)));
}

TEST(ragged, queries_alone) {
  const inputs<float> in = ragged_inputs();
  const tensor<float> k = support::random_tensor({sequences, key_heads, 140, 12}, 4);
  const tensor<float> v = support::random_tensor({sequences, key_heads, 140, value_dim}, 5);
  expect_sequences({in.q.view(), k.view(), v.view(), {.query_starts = query_starts}}, no_policies);
}

TEST(ragged, keys_alone) {
  const inputs<float> in = ragged_inputs();
  for (const index_t queries : {1, 7}) {
    const tensor<float> q = support::random_tensor({sequences, heads, queries, 12}, 6, 3.0f);
    expect_sequences({q.view(), in.k.view(), in.v.view(), {.key_starts = key_starts}}, no_policies);
  }
}

/// One temperature for each sequence.
struct sequence_temperature {
  const float* values;
  relpos::temperature bind(index_t batch, index_t) const { return {values[batch]}; }
};
const std::vector<float> temperatures{0.5f, 1, 2, 0.7f, 1.1f, 0.9f, 3, 1, 1, 1.5f};
const std::vector<index_t> padding{3, 0, 40, 0, 299, 200, 0, 1, 5, 16};
const std::vector<float> slopes{0.3f, 0.02f, 0.1f, 0.0f};

// The queries are the last rows of the keys: a sequence has positions of its own.
TEST(ragged, policies_of_each_sequence) {
  const inputs<float> in = ragged_inputs();
  expect_sequences(of_lists(in), [](index_t at, const auto& use) {
    const bool whole = at < 0;
    const std::span<const index_t> counts(padding.data() + (whole ? 0 : at),
                                          static_cast<std::size_t>(whole ? sequences : 1));
    use(relpos::alibi{slopes}, relpos::causal{}, relpos::left_padding{counts},
        sequence_temperature{temperatures.data() + (whole ? 0 : at)});
  });
}

TEST(ragged, a_matrix_is_that_of_the_longest) {
  const inputs<float> in = ragged_inputs();
  const index_t longest_query = *std::max_element(query_lengths.begin(), query_lengths.end());
  const index_t longest_key = *std::max_element(key_lengths.begin(), key_lengths.end());
  tensor<float> matrix = support::random_tensor({sequences, heads, longest_query, longest_key}, 17);
  for (index_t at = 0; at < sequences; ++at) {  // what no row of a sequence has
    const index_t queries = query_lengths[static_cast<std::size_t>(at)];
    const index_t keys = key_lengths[static_cast<std::size_t>(at)];
    for (index_t h = 0; h < heads; ++h) {
      for (index_t row = 0; row < longest_query; ++row) {
        for (index_t key = row < queries ? keys : 0; key < longest_key; ++key) {
          matrix(at, h, row, key) = support::not_a_number;
        }
      }
    }
  }
  const rows_view all = std::as_const(matrix).view();
  expect_sequences(of_lists(in), [all](index_t at, const auto& use) {
    if (at < 0) {
      use(relpos::additive_bias{all});
    } else {
      const auto own = static_cast<std::size_t>(at);
      use(relpos::additive_bias{
          all.slice(0, at, 1).slice(2, 0, query_lengths[own]).slice(3, 0, key_lengths[own])});
    }
  });
}

TEST(ragged, tables_and_rotations_of_each_sequence) {
  const inputs<float> in = ragged_inputs();
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
  const std::vector<index_t> documents{-50, 0, 60, 128, 200, 2000};
  const auto policies = [&](index_t, const auto& use) {
    use(relpos::rotary{rope}, relpos::documents{documents},
        relpos::relative_bias{[](index_t head, index_t distance) {
          return std::sin(0.37 * static_cast<double>(distance)) * static_cast<double>(head + 1);
        }});
  };
  expect_sequences(of_lists(in), policies);

  // Offsets far apart move every position and no distance; the documents move away from all but the
  // first of them.
  batch_of batch = of_lists(in);
  std::vector<index_t> of_queries, of_keys;
  for (std::size_t at = 0; at < sequences; ++at) {
    of_keys.push_back(at == 4 ? 0 : 1000 * static_cast<index_t>(at));
    of_queries.push_back(of_keys.back() + key_lengths[at] - query_lengths[at] + (at == 7));
  }
  batch.lists.query_offsets = of_queries;
  batch.lists.key_offsets = of_keys;
  policies(-1, [&](const auto&... each) {
    const auto got = support::attend(batch.q, batch.k, batch.v, batch.lists, each...);
    for (index_t at = 0; at < sequences; ++at) {
      const relpos::options alone{.query_offset = of_queries[static_cast<std::size_t>(at)],
                                  .key_offset = of_keys[static_cast<std::size_t>(at)]};
      const auto rows = sequence_of(got, batch.lists.query_starts, at);
      EXPECT_TRUE(same_bits(
          rows, support::attend(batch.q_of(at), batch.k_of(at), batch.v_of(at), alone, each...)))
          << at;
      expect_reference(rows, batch.q_of(at), batch.k_of(at), batch.v_of(at), alone, each...);
    }
  });
}

TEST(ragged, statistics_are_those_of_each_sequence) {
  const inputs<float> in = ragged_inputs();
  batch_of batch = of_lists(in);
  collected all({1, heads, query_starts.back()});
  batch.lists.statistics = all.views();
  support::attend(batch.q, batch.k, batch.v, batch.lists);
  for (index_t at = 0; at < sequences; ++at) {
    const index_t queries = query_lengths[static_cast<std::size_t>(at)];
    collected own({1, heads, queries});
    support::attend(batch.q_of(at), batch.k_of(at), batch.v_of(at), {.statistics = own.views()});
    const auto& starts = batch.lists.query_starts;
    EXPECT_TRUE(same_bits(sequence_of(all.max_probability, starts, at), own.max_probability));
    EXPECT_TRUE(same_bits(sequence_of(all.entropy, starts, at), own.entropy));
    EXPECT_TRUE(same_bits(sequence_of(all.logit_count, starts, at), own.logit_count));
    EXPECT_TRUE(same_bits(sequence_of(all.logit_mean, starts, at), own.logit_mean));
    EXPECT_TRUE(same_bits(sequence_of(all.logit_variance, starts, at), own.logit_variance));
    for (const float count : sequence_of(all.logit_count, starts, at).values) {
      EXPECT_EQ(count, static_cast<float>(key_lengths[static_cast<std::size_t>(at)]));
    }
  }
}

TEST(ragged, any_number_of_threads) {
  const inputs<float> in = ragged_inputs();
  const batch_of batch = of_lists(in);
  const attended<float> expected = support::attend(batch.q, batch.k, batch.v, batch.lists);
  for (const index_t workers : {1, 2, 5}) {
    EXPECT_TRUE(same_bits(expected, support::attend_on(support::threaded{workers}, batch.q, batch.k,
                                                       batch.v, batch.lists)));
  }
}

TEST(ragged, nan_of_one_sequence_does_not_reach_another) {
  const inputs<float> in = ragged_inputs();
  for (const kernel_class kernel : kernels) {
    relpos::options opts = of_lists(in).lists;
    opts.kernel = kernel;
    const attended<float> clean = attend(in, opts);
    for (index_t poisoned = 0; poisoned < sequences; ++poisoned) {
      inputs<float> spoiled = in;
      const auto fill = [](tensor<float>& rows, const std::vector<index_t>& starts, index_t at) {
        const auto first = starts[static_cast<std::size_t>(at)];
        for (index_t h = 0; h < rows.shape[1]; ++h) {
          for (index_t row = first; row < starts[static_cast<std::size_t>(at) + 1]; ++row) {
            for (index_t c = 0; c < rows.shape[3]; ++c) rows(0, h, row, c) = support::not_a_number;
          }
        }
      };
      fill(spoiled.q, query_starts, poisoned);
      fill(spoiled.k, key_starts, poisoned);
      fill(spoiled.v, key_starts, poisoned);
      const attended<float> got = attend(spoiled, opts);
      for (index_t at = 0; at < sequences; ++at) {
        if (at == poisoned) continue;
        EXPECT_TRUE(
            same_bits(sequence_of(got, query_starts, at), sequence_of(clean, query_starts, at)))
            << "NaN in sequence " << poisoned << " is in " << at << ", kernel " << int(kernel);
      }
    }
  }
}

}  // namespace
