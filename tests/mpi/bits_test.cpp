// The bits of a row do not depend on when messages arrive.

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <thread>

#include "mpi/spread_call.hpp"

namespace {

using relpos::index_t;

/// Waits up to a millisecond before each item.
struct delayed {
  std::mt19937* random;

  static constexpr index_t workers() { return 1; }

  template <class Item>
  void run(index_t count, Item&& item) const {
    for (index_t i = 0; i < count; ++i) {
      std::this_thread::sleep_for(std::chrono::microseconds((*random)() % 1000));
      item(i, index_t{0});
    }
  }
};

TEST(mpi_bits, are_the_same_after_random_delays) {
  constexpr index_t length = 300;
  const relpos::mpi::group ranks(MPI_COMM_WORLD,
                                 relpos::mpi::zigzag_shards(length, support::ranks_of_world()));
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 2,
                                          .key_heads = 1,
                                          .query_length = length,
                                          .key_length = length,
                                          .head_dim = 16,
                                          .value_dim = 16},
                                         2);
  const auto q = support::rows_of_rank(in.q, ranks.queries(), ranks.rank());
  const auto k = support::rows_of_rank(in.k, ranks.keys(), ranks.rank());
  const auto v = support::rows_of_rank(in.v, ranks.keys(), ranks.rank());
  support::tensor<float> first(q.shape), again(q.shape);
  ASSERT_TRUE(relpos::mpi::attention(relpos::serial(), ranks, first.view(), q.view(), k.view(),
                                     v.view(), relpos::causal{}));
  std::mt19937 random(static_cast<unsigned>(ranks.rank()));
  auto call = relpos::mpi::prepare(delayed{&random}, ranks, again.view(), q.view(), k.view(),
                                   v.view(), relpos::causal{});
  for (int run = 0; run < 20; ++run) {
    std::fill(again.values.begin(), again.values.end(), support::not_a_number);
    ASSERT_TRUE(call.run(delayed{&random}));
    ASSERT_EQ(
        std::memcmp(first.values.data(), again.values.data(), first.values.size() * sizeof(float)),
        0)
        << "run " << run;
  }
}

}  // namespace
