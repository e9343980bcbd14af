// Decode over caches that are spread over ranks equals attention over all rows.

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "mpi/spread_call.hpp"
#include "relpos/caches.hpp"

namespace {

using relpos::index_t;
using relpos::options;
using support::inputs;
using support::tensor;

constexpr index_t heads = 4, key_heads = 2, head_dim = 8, length = 700;

struct world {
  index_t rank = 0, ranks = 0;

  world() {
    int number = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &number);
    rank = number;
    ranks = support::ranks_of_world();
  }
};

inputs<float> last_query_of_many_keys() {
  return support::random_inputs({.batch = 1,
                                 .query_heads = heads,
                                 .key_heads = key_heads,
                                 .query_length = 1,
                                 .key_length = length,
                                 .head_dim = head_dim,
                                 .value_dim = head_dim},
                                11);
}

struct state_memory {
  tensor<float> out{{1, heads, 1, head_dim}, support::not_a_number};
  tensor<float, 3> lse{{1, heads, 1}, support::not_a_number};

  relpos::partial_state state() { return {out.view(), lse.view()}; }
};

template <class... Policies>
void expect_whole(const state_memory& got, const inputs<float>& in, const Policies&... policies) {
  tensor<double> exact(got.out.shape);
  tensor<double, 3> lse(got.lse.shape);
  ASSERT_TRUE(relpos::reference_attention<double>(exact.view(), lse.view(), in.q.view(),
                                                  in.k.view(), in.v.view(), policies...));
  support::expect_close(got.out.values, exact.values, 1e-5, "out");
  support::expect_close(got.lse.values, lse.values, 1e-5, "lse");
}

TEST(mpi_merge, of_caches_that_grew_on_one_rank_after_another) {
  const world here;
  const inputs<float> in = last_query_of_many_keys();
  const std::vector<float> slopes{0.5f, 0.1f, 0.01f, 0.001f};
  const std::vector<float> sinks{1.0f, -2.0f, 0.0f, 3.0f};
  // The last rank has nothing yet, unless it is alone.
  const index_t filled = std::max(here.ranks - 1, index_t{1});
  const index_t first = here.rank < filled ? length * here.rank / filled : length;
  const index_t last = here.rank < filled ? length * (here.rank + 1) / filled : length;
  tensor<float> keys({1, key_heads, length, head_dim}), values = keys;
  std::vector<index_t> lengths{0};
  const relpos::contiguous_cache<float> cache{{keys.view(), values.view()}, lengths};
  ASSERT_TRUE(relpos::append(relpos::serial(), cache, in.k.view().slice(2, first, last - first),
                             in.v.view().slice(2, first, last - first)));
  state_memory memory;
  const relpos::partial_state state = memory.state();
  const options opts{.lse = memory.lse.view(), .query_offset = length - 1, .key_offset = first};
  const auto attend = [&](const auto&... policies) {
    auto call = relpos::prepare(relpos::serial(), memory.out.view(), in.q.view(), cache,
                                policies..., relpos::causal{}, opts);
    std::vector<std::byte> workspace(call.workspace_bytes());
    const relpos::status done = call.run(relpos::serial(), workspace);
    ASSERT_TRUE(done) << done.message;
  };
  attend(relpos::alibi{slopes});
  ASSERT_TRUE(relpos::mpi::merge(MPI_COMM_WORLD, {}, state));
  expect_whole(memory, in, relpos::alibi{slopes});

  attend(relpos::sink_logits{sinks});
  ASSERT_TRUE(relpos::mpi::merge(MPI_COMM_WORLD, {}, state, relpos::sink_logits{sinks}));
  expect_whole(memory, in, relpos::sink_logits{sinks});
}

TEST(mpi_merge, of_pages_in_turn) {
  const world here;
  const inputs<float> in = last_query_of_many_keys();
  for (const index_t page_rows : {16, 128}) {
    const index_t blocks = (length + page_rows - 1) / page_rows;
    const index_t own = (blocks - here.rank + here.ranks - 1) / here.ranks;
    tensor<float> keys({own + 1, key_heads, page_rows, head_dim}), values = keys;
    std::vector<std::int32_t> table;
    for (index_t block = 0; block < blocks; ++block) {  // the last page is the spare one
      table.push_back(
          static_cast<std::int32_t>(block % here.ranks == here.rank ? block / here.ranks : own));
    }
    std::vector<index_t> lengths{0};
    const relpos::paged_cache<float> cache{
        {keys.view(), values.view()},
        lengths,
        {relpos::view<std::int32_t, 2>(table.data(), {1, blocks})}};
    const relpos::rotary_table rope(relpos::rope_frequencies(head_dim),
                                    relpos::pair_layout::half_split);
    for (index_t row = 0; row < length; row += 50) {
      const relpos::status done =
          relpos::append(relpos::serial(), cache, in.k.view().slice(2, row, 50),
                         in.v.view().slice(2, row, 50), relpos::rotary{rope});
      ASSERT_TRUE(done) << done.message;
    }
    state_memory memory;
    auto call = relpos::prepare(relpos::serial(), memory.out.view(), in.q.view(), cache,
                                relpos::rotary{rope},
                                relpos::mpi::rank_pages{page_rows, here.rank, here.ranks},
                                options{.lse = memory.lse.view()});
    std::vector<std::byte> workspace(call.workspace_bytes());
    const relpos::status done = call.run(relpos::serial(), workspace);
    ASSERT_TRUE(done) << done.message;
    ASSERT_TRUE(relpos::mpi::merge(MPI_COMM_WORLD, {}, memory.state()));
    expect_whole(memory, in, relpos::rotary{rope});
  }
}

TEST(mpi_merge, of_several_rows_with_sinks_of_their_own) {
  const world here;
  const inputs<float> in = support::random_inputs({.batch = 2,
                                                   .query_heads = heads,
                                                   .key_heads = key_heads,
                                                   .query_length = 3,
                                                   .key_length = 90,
                                                   .head_dim = head_dim,
                                                   .value_dim = 5},
                                                  23);
  const auto sink_rows = support::random_tensor({2, heads, 3, 1}, 24);
  const relpos::row_sink_logits sinks{
      relpos::view<const float, 3>(sink_rows.values.data(), {2, heads, 3})};
  const index_t first = 90 * here.rank / here.ranks;
  const index_t count = 90 * (here.rank + 1) / here.ranks - first;
  tensor<float> out({2, heads, 3, 5});
  tensor<float, 3> lse({2, heads, 3});
  const auto k = in.k.view().slice(2, first, count), v = in.v.view().slice(2, first, count);
  const options opts{.query_offset = 87, .key_offset = first};
  std::vector<std::byte> memory(
      relpos::workspace_bytes(relpos::serial(), in.q.view(), k, v, sinks, relpos::causal{}, opts));
  const relpos::status done = relpos::partial(relpos::serial(), memory, {out.view(), lse.view()},
                                              in.q.view(), k, v, sinks, relpos::causal{}, opts);
  const relpos::status merged =
      relpos::mpi::merge(MPI_COMM_WORLD, done, {out.view(), lse.view()}, sinks);
  ASSERT_TRUE(merged) << merged.message;
  tensor<double> exact(out.shape);
  ASSERT_TRUE(relpos::reference_attention<double>(
      exact.view(), std::nullopt, in.q.view(), in.k.view(), in.v.view(), sinks, relpos::causal{}));
  support::expect_close(out.values, exact.values, 1e-5, "out");
}

TEST(mpi_merge, refuses_sinks_that_differ) {
  const world here;
  if (here.ranks == 1) GTEST_SKIP() << "needs two ranks";
  state_memory memory;
  std::vector<float> sinks{1.0f, -2.0f, 0.0f, here.rank == 0 ? 3.0f : 2.0f};
  const relpos::status refused =
      relpos::mpi::merge(MPI_COMM_WORLD, {}, memory.state(), relpos::sink_logits{sinks});
  EXPECT_STREQ(refused.message, "sinks: ranks have different ones");
}

TEST(mpi_merge, of_rows_without_a_key_is_zero) {
  state_memory memory;
  std::fill(memory.lse.values.begin(), memory.lse.values.end(), -support::infinity);
  ASSERT_TRUE(relpos::mpi::merge(MPI_COMM_WORLD, {}, memory.state()));
  for (const float each : memory.out.values) EXPECT_EQ(each, 0.0f);
  for (const float each : memory.lse.values) EXPECT_EQ(each, -support::infinity);
}

TEST(mpi_merge, of_a_call_that_failed_on_one_rank_fails_on_all) {
  const world here;
  state_memory memory;
  relpos::status computed;
  if (here.rank == 0) computed = relpos::status::error(relpos::status_code::overlap, "q: overlaps");
  const relpos::status merged = relpos::mpi::merge(MPI_COMM_WORLD, computed, memory.state());
  ASSERT_FALSE(merged);
  EXPECT_STREQ(merged.message,
               here.rank == 0 ? "q: overlaps" : "state: another rank has refused its own");
}

TEST(mpi_merge, refuses_states_that_differ) {
  const world here;
  state_memory memory;
  relpos::partial_state state = memory.state();
  if (here.rank == here.ranks - 1 && here.ranks > 1) {
    state.out.shape[1] = state.lse.shape[1] = 2;
    const relpos::status refused = relpos::mpi::merge(MPI_COMM_WORLD, {}, state);
    EXPECT_NE(std::string(refused.message).find("axis 1 is from 2 to 4"), std::string::npos)
        << refused.message;
  } else if (here.ranks > 1) {
    EXPECT_FALSE(relpos::mpi::merge(MPI_COMM_WORLD, {}, state));
  }
  state = memory.state();
  state.lse = {state.lse.data, {1, heads, 2}, {8, 2, 1}};
  const relpos::status refused = relpos::mpi::merge(MPI_COMM_WORLD, {}, state);
  EXPECT_NE(std::string(refused.message).find("state.lse: shape is [1, 4, 2], must be [1, 4, 1]"),
            std::string::npos)
      << refused.message;
}

TEST(mpi_rank_pages, refuses_a_rank_that_is_none) {
  EXPECT_FALSE((relpos::mpi::rank_pages{16, 2, 2}.check({})));
  EXPECT_FALSE((relpos::mpi::rank_pages{0, 0, 2}.check({})));
  EXPECT_TRUE((relpos::mpi::rank_pages{16, 1, 2}.check({})));
}

}  // namespace
