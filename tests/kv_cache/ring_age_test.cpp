// A ring costs what it holds and gives what it holds, however long the stream has been: workspace,
// work items and calls of a user's function do not change with its age.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;
using relpos::kernel_class;
using support::inputs;
using support::own_ring;

constexpr index_t heads = 2;
constexpr index_t channels = 16;
constexpr index_t held = 700;
constexpr index_t queries = 130;  // enough for the bound that skips tiles
constexpr index_t ages[] = {4096, 65536, index_t{1} << 30};

/// Rows 0 to sinks - 1 and `length` - held to `length` - 1 of a stream. The rows of a query do not
/// depend on its age.
struct stream {
  inputs<float> in;
  own_ring<float> ring;
  index_t sinks;
  index_t length;

  stream(index_t age, index_t kept, const relpos::rotary* rope = nullptr)
      : in(support::random_inputs({.query_heads = heads,
                                   .key_heads = 1,
                                   .query_length = queries,
                                   .key_length = kept + held,
                                   .head_dim = channels,
                                   .value_dim = channels},
                                  5)),
        ring({.rows = kept + held, .head_dim = channels, .value_dim = channels}, kept),
        sinks(kept),
        length(age) {
    const auto append = [&](index_t first, index_t last) {
      if (rope == nullptr) {
        support::append_rows(ring, in, first, last);
      } else {
        support::append_rows(ring, in, first, last, *rope);
      }
    };
    append(0, sinks);
    ring.lengths[0] = age - held;
    ring.oldest[0] = age - held;
    append(sinks, sinks + held);
  }
  /// The position of the row of `in`.
  index_t position(index_t row) const { return row < sinks ? row : row - sinks + length - held; }
};

/// Runs in order, and keeps how many items each phase had.
struct counting {
  std::vector<index_t>* counts;

  static index_t workers() { return 3; }
  template <class Item>
  void run(index_t count, Item&& item) const {
    counts->push_back(count);
    for (index_t i = 0; i < count; ++i) item(i, i % workers());
  }
};

using cost = std::tuple<std::size_t, std::vector<index_t>, index_t>;  // bytes, items, calls

template <class... Policies>
cost cost_of(stream& of, index_t count, kernel_class kernel, const index_t& calls,
             support::tensor<float>& out, const Policies&... policies) {
  const auto q = of.in.q.view().slice(2, queries - count, count);
  const relpos::options opts{.kernel = kernel};
  std::vector<index_t> items;
  const counting runner{&items};
  std::vector<std::byte> memory(
      relpos::workspace_bytes(runner, q, of.ring.cache(), opts, policies...));
  const index_t before = calls;
  const relpos::status done =
      relpos::attention(runner, memory, out.view(), q, of.ring.cache(), opts, policies...);
  EXPECT_TRUE(done) << done.message;
  return {memory.size(), items, calls - before};
}

// A computed bias, a table of the user's, logit scaling and documents in one call, against the
// definition in double.
TEST(ring_age, biases_logit_scaling_and_masks) {
  index_t calls = 0;
  const auto logarithm = [&](index_t head, index_t distance) {
    ++calls;
    return -0.3 * static_cast<double>(head + 1) *
           std::log1p(std::abs(static_cast<double>(distance)));
  };
  const std::vector<float> slopes{0.05f, 1e-9f};
  const std::vector<index_t> starts{0, index_t{1} << 40};
  constexpr index_t trained = 16;

  for (const index_t sinks : {0, 4}) {
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      for (const index_t count : {index_t{1}, queries}) {
        SCOPED_TRACE(testing::Message() << sinks << " sinks, " << count << " queries");
        std::vector<cost> costs;
        for (const index_t age : ages) {
          stream of(age, sinks);
          support::tensor<float> out({1, heads, count, channels});
          costs.push_back(cost_of(of, count, kernel, calls, out, relpos::alibi{slopes},
                                  relpos::relative_bias{logarithm}, relpos::log_n{trained},
                                  relpos::documents{starts}, relpos::causal{}));
          for (index_t head = 0; head < heads; ++head) {
            for (const index_t row : {index_t{0}, count - 1}) {
              const index_t q_pos = age - count + row;
              const auto seen = static_cast<double>(sinks + held - (count - 1 - row));
              std::vector<double> scores;
              for (index_t key = 0; key < sinks + held; ++key) {
                const index_t distance = of.position(key) - q_pos;
                if (distance > 0) break;
                double dot = 0;
                for (index_t c = 0; c < channels; ++c) {
                  dot += static_cast<double>(of.in.q(0, head, queries - count + row, c)) *
                         static_cast<double>(of.in.k(0, 0, key, c));
                }
                const auto apart = static_cast<double>(-distance);
                const double bias =
                    -static_cast<double>(slopes[static_cast<std::size_t>(head)]) * apart -
                    0.3 * static_cast<double>(head + 1) * std::log1p(apart);
                scores.push_back((dot / std::sqrt(channels) + bias) * std::log(seen) /
                                 std::log(trained));
              }
              const double top = *std::max_element(scores.begin(), scores.end());
              double sum = 0;
              for (double& score : scores) sum += score = std::exp(score - top);
              for (index_t c = 0; c < channels; ++c) {
                double wanted = 0;
                for (std::size_t key = 0; key < scores.size(); ++key) {
                  wanted += scores[key] / sum *
                            static_cast<double>(of.in.v(0, 0, static_cast<index_t>(key), c));
                }
                ASSERT_NEAR(out(0, head, row, c), wanted, 2e-5);
              }
            }
          }
        }
        EXPECT_EQ(costs[0], costs[1]);
        EXPECT_EQ(costs[0], costs[2]);
      }
    }
  }
}

// The rotated keys of both pieces, against partial attention over the same rows in tensors.
TEST(ring_age, rotations) {
  const relpos::rotary_table table(relpos::rope_frequencies(channels),
                                   relpos::pair_layout::half_split);
  const relpos::rotary rope{table};
  const index_t calls = 0;
  for (const index_t sinks : {0, 4}) {
    for (const kernel_class kernel : {kernel_class::prefill, kernel_class::decode}) {
      std::vector<cost> costs;
      for (const index_t age : ages) {
        SCOPED_TRACE(testing::Message() << sinks << " sinks, age " << age);
        stream of(age, sinks, &rope);
        support::tensor<float> out({1, heads, queries, channels});
        costs.push_back(cost_of(of, queries, kernel, calls, out, rope, relpos::causal{}));

        support::tensor<float> total({1, heads, queries, channels});
        support::tensor<float> part({1, heads, queries, channels});
        support::tensor<float, 3> total_lse({1, heads, queries});
        support::tensor<float, 3> part_lse({1, heads, queries});
        const auto attend_rows = [&](index_t first, index_t last, auto& to, auto& lse) {
          const relpos::options opts{
              .query_offset = age - queries, .key_offset = of.position(first), .kernel = kernel};
          const auto k = of.in.k.view().slice(2, first, last - first);
          const auto v = of.in.v.view().slice(2, first, last - first);
          std::vector<std::byte> memory(relpos::workspace_bytes(relpos::serial{}, of.in.q.view(), k,
                                                                v, rope, relpos::causal{}, opts));
          ASSERT_TRUE(relpos::partial(relpos::serial{}, memory,
                                      relpos::partial_state{to.view(), lse.view()}, of.in.q.view(),
                                      k, v, rope, relpos::causal{}, opts));
        };
        attend_rows(sinks, sinks + held, total, total_lse);
        if (sinks > 0) {
          attend_rows(0, sinks, part, part_lse);
          for (index_t head = 0; head < heads; ++head) {
            for (index_t row = 0; row < queries; ++row) {
              const float share =
                  1.0f / (1.0f + std::exp(total_lse(0, head, row) - part_lse(0, head, row)));
              for (index_t c = 0; c < channels; ++c) {
                float& of_total = total.view()(0, head, row, c);
                of_total += share * (part(0, head, row, c) - of_total);
              }
            }
          }
        }
        for (std::size_t i = 0; i < out.values.size(); ++i) {
          ASSERT_NEAR(out.values[i], total.values[i], 3e-6f);
        }
      }
      EXPECT_EQ(costs[0], costs[1]);
      EXPECT_EQ(costs[0], costs[2]);
    }
  }
}

// Sequences of one call whose streams are of very different age.
TEST(ring_age, sequences_apart) {
  const relpos::rotary_table table(relpos::rope_frequencies(channels),
                                   relpos::pair_layout::half_split);
  const auto in = support::random_inputs({.batch = 3,
                                          .query_heads = heads,
                                          .key_heads = 1,
                                          .query_length = 2,
                                          .key_length = held,
                                          .head_dim = channels,
                                          .value_dim = channels},
                                         7);
  for (const index_t sinks : {0, 4}) {
    own_ring<float> ring(
        {.batch = 3, .rows = sinks + held, .head_dim = channels, .value_dim = channels}, sinks);
    support::append_rows(ring, in, 0, sinks, relpos::rotary{table});
    ring.lengths = {sinks, 100000, 90000000};
    ring.oldest = {sinks, 100000, 90000000};
    support::append_rows(ring, in, sinks, held, relpos::rotary{table});
    const auto together = support::attend_cache(ring.cache(), in.q.view(), {},
                                                relpos::rotary{table}, relpos::causal{});
    for (const index_t at : {0, 1, 2}) {
      own_ring<float> alone({.rows = sinks + held, .head_dim = channels, .value_dim = channels},
                            sinks);
      auto memory = ring.memory.memory();
      const auto i = static_cast<std::size_t>(at);
      std::vector<index_t> length{ring.lengths[i]};
      std::vector<index_t> oldest{ring.oldest[i]};
      const relpos::ring_cache<float> one{
          {memory.keys.slice(0, at, 1), memory.values.slice(0, at, 1)}, length, {oldest, sinks}};
      const auto wanted = support::attend_cache(one, in.q.view().slice(0, at, 1), {},
                                                relpos::rotary{table}, relpos::causal{});
      support::expect_same_rows(together, wanted, 0, at);
    }
  }
}

}  // namespace
