// Offsets of each sequence of a batch: an entry is what it is alone, with offsets of its own.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::attended;
using support::inputs;

constexpr index_t batch = 4;
constexpr index_t keys = 90;
constexpr index_t far = index_t{1} << 40;
constexpr kernel_class kernels[] = {kernel_class::prefill, kernel_class::decode};

const std::vector<float> slopes{0.3f, 0.004f};
const std::vector<float> table = support::random_tensor({1, 1, 32, 2}, 3, 2.0f).values;

inputs<float> batch_inputs(index_t queries) {
  return support::random_inputs({.batch = batch,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = queries,
                                 .key_length = keys,
                                 .head_dim = 12,
                                 .value_dim = 5},
                                static_cast<std::uint32_t>(40 + queries));
}

attended<float> rows_of_entry(const attended<float>& of, index_t entry) {
  const auto& shape = of.out.shape;
  attended<float> result{support::tensor<float>({1, shape[1], shape[2], shape[3]}),
                         support::tensor<float, 3>({1, shape[1], shape[2]})};
  const auto copy = [&](const auto& from, auto& to) {
    const auto first = from.begin() + static_cast<std::ptrdiff_t>(to.size()) * entry;
    std::copy(first, first + static_cast<std::ptrdiff_t>(to.size()), to.begin());
  };
  copy(of.out.values, result.out.values);
  copy(of.lse.values, result.lse.values);
  return result;
}

/// Expects one sequence to be right. In few rows the errors of the naive computation may all be
/// small by chance, so the effect of rounding scores of this size once is added to them.
template <class... Policies>
void expect_alone(const attended<float>& got, const inputs<float>& in, index_t entry,
                  const relpos::options& alone, const Policies&... policies) {
  const auto q = in.q.view().slice(0, entry, 1);
  const auto k = in.k.view().slice(0, entry, 1);
  const auto v = in.v.view().slice(0, entry, 1);
  std::vector<double> out, lse;
  std::vector<float> naive_out, naive_lse;
  support::run_reference(out, lse, q, k, v, alone, policies...);
  support::run_reference(naive_out, naive_lse, q, k, v, alone, policies...);
  double largest = 0.0;
  for (const double each : lse) {
    if (std::isfinite(each)) largest = std::max(largest, std::abs(each));
  }
  const double rounding = 0x1p-23 * largest;
  support::expect_close(got.out.values, out, support::float_tolerance(out, naive_out) + rounding,
                        "out");
  support::expect_close(got.lse.values, lse,
                        support::float_tolerance(lse, naive_lse, true) + rounding, "lse");
}

/// Each entry is the reference of that entry alone, whose offsets are numbers.
template <class... Policies>
void expect_entries(const relpos::options& opts, const Policies&... policies) {
  for (const index_t queries : {1, 5, 70}) {
    const inputs<float> in = batch_inputs(queries);
    for (const kernel_class kernel : kernels) {
      relpos::options with_lists = opts;
      with_lists.kernel = kernel;
      const attended<float> got = attend(in, with_lists, policies...);
      for (index_t entry = 0; entry < batch; ++entry) {
        SCOPED_TRACE(testing::Message() << queries << " queries, entry " << entry << ", kernel "
                                        << static_cast<int>(kernel));
        relpos::options alone{.key_offset = opts.key_offset};
        if (!opts.query_offsets.empty()) alone.query_offset = opts.query_offsets[entry];
        if (!opts.key_offsets.empty()) alone.key_offset = opts.key_offsets[entry];
        expect_alone(rows_of_entry(got, entry), in, entry, alone, policies...);
      }
    }
  }
}

template <class... Policies>
void expect_all_offsets(const Policies&... policies) {
  {
    SCOPED_TRACE("near each other, so that tables are shared");
    const std::vector<std::int32_t> of_queries{85, 60, 80, 40};
    const std::vector<std::int32_t> of_keys{0, -7, 3, 2};
    expect_entries({.query_offsets = of_queries, .key_offsets = of_keys}, policies...);
  }
  {
    SCOPED_TRACE("far apart, so that tables are of sequences");
    const std::vector<std::int64_t> of_queries{5000, 0, 400, -30};
    const std::vector<std::int64_t> of_keys{0, 0, 330, 2000};
    expect_entries({.query_offsets = of_queries, .key_offsets = of_keys}, policies...);
  }
  {
    SCOPED_TRACE("far from 0");
    const std::vector<index_t> of_queries{far + 85, -far + 61, 20, far};
    const std::vector<index_t> of_keys{far, -far, -20, far - 33};
    expect_entries({.query_offsets = of_queries, .key_offsets = of_keys}, policies...);
  }
  {
    SCOPED_TRACE("of queries alone");
    const std::vector<std::int32_t> of_queries{1100, 1020, 1080, 1000};
    expect_entries({.key_offset = 1000, .query_offsets = of_queries}, policies...);
  }
  {
    SCOPED_TRACE("of keys alone: the queries are the last rows");
    const std::vector<long long> of_keys{0, 1000, -100, far};
    expect_entries({.key_offsets = of_keys}, policies...);
  }
}

double wave(index_t head, index_t distance) {
  return std::sin(0.37 * static_cast<double>(distance)) * static_cast<double>(head + 1);
}

TEST(offsets, of_a_computed_bias) { expect_all_offsets(relpos::alibi{slopes}, relpos::causal{}); }

TEST(offsets, of_a_bias_that_saturates_in_a_band) {
  expect_all_offsets(relpos::t5_bias{table, relpos::bidirectional}, relpos::band{50, 7});
}

TEST(offsets, of_a_bias_that_never_saturates) { expect_all_offsets(relpos::relative_bias{wave}); }

TEST(offsets, of_a_rotation) {
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
  expect_all_offsets(relpos::rotary{rope});
}

TEST(offsets, of_a_rotation_that_decays) {
  const relpos::rotary_table xpos(relpos::xpos_frequencies(8), relpos::pair_layout::interleaved);
  expect_all_offsets(relpos::rotary{xpos}, relpos::causal{});
}

void expect_rows(const attended<float>& got, const attended<float>& whole, index_t first_head,
                 index_t first_row) {
  const auto& shape = got.out.shape;
  for (index_t b = 0; b < shape[0]; ++b) {
    for (index_t h = 0; h < shape[1]; ++h) {
      for (index_t row = 0; row < shape[2]; ++row) {
        const auto same = [](const float* x, const float* y, index_t count) {
          return std::memcmp(x, y, static_cast<std::size_t>(count) * sizeof *x) == 0;
        };
        const index_t of_head = first_head + h;
        ASSERT_TRUE(
            same(&got.lse(b, h, row), &whole.lse(b, of_head, first_row + row), 1) &&
            same(&got.out(b, h, row, 0), &whole.out(b, of_head, first_row + row, 0), shape[3]))
            << "entry " << b << ", head " << of_head << ", row " << first_row + row;
      }
    }
  }
}

/// Rows in calls of `chunk` rows each, on a list of offsets that moves on with them.
template <class... Policies>
void expect_chunks(const Policies&... policies) {
  const inputs<float> in = batch_inputs(70);
  const std::vector<index_t> of_queries{5000, 20, far + 100, 64};
  const std::vector<index_t> of_keys{0, 0, far, 1};
  for (const kernel_class kernel : kernels) {
    const attended<float> whole = attend(
        in, {.query_offsets = of_queries, .key_offsets = of_keys, .kernel = kernel}, policies...);
    for (const index_t chunk : {1, 16, 33}) {
      for (index_t first = 0; first < 70; first += chunk) {
        std::vector<index_t> there = of_queries;
        for (index_t& offset : there) offset += first;
        const auto got = support::attend(
            in.q.view().slice(2, first, std::min(chunk, 70 - first)), in.k.view(), in.v.view(),
            {.query_offsets = there, .key_offsets = of_keys, .kernel = kernel}, policies...);
        expect_rows(got, whole, 0, first);
      }
    }
  }
}

TEST(offsets, chunks_and_single_tokens_are_rows_of_the_whole) {
  const relpos::rotary_table rope(relpos::rope_frequencies(12), relpos::pair_layout::half_split);
  expect_chunks(relpos::rotary{rope});
  expect_chunks(relpos::alibi{slopes}, relpos::causal{});
  expect_chunks(relpos::t5_bias{table, relpos::bidirectional}, relpos::band{50, 7});
  expect_chunks(relpos::relative_bias{wave});
}

TEST(offsets, shards_of_heads_are_heads_of_the_whole) {
  const inputs<float> in = support::random_inputs({.batch = 2,
                                                   .query_heads = 12,
                                                   .key_heads = 6,
                                                   .query_length = 20,
                                                   .key_length = keys,
                                                   .head_dim = 12,
                                                   .value_dim = 5},
                                                  8);
  const std::vector<index_t> of_queries{5000, 75};
  const std::vector<index_t> of_keys{4980, 0};
  const std::vector<float> all = relpos::alibi_slopes(12);
  for (const kernel_class kernel : kernels) {
    const relpos::options opts{
        .query_offsets = of_queries, .key_offsets = of_keys, .kernel = kernel};
    const attended<float> whole = attend(in, opts, relpos::alibi{all}, relpos::causal{});
    for (const index_t shards : {2, 3, 6}) {
      for (index_t first = 0; first < 12; first += 12 / shards) {
        const index_t count = 12 / shards;
        const std::vector<float> own = relpos::alibi_slopes(relpos::head_shard{first, count, 12});
        const auto got = support::attend(
            in.q.view().slice(1, first, count), in.k.view().slice(1, first / 2, count / 2),
            in.v.view().slice(1, first / 2, count / 2), opts, relpos::alibi{own}, relpos::causal{});
        expect_rows(got, whole, first, 0);
      }
    }
  }
}

}  // namespace
