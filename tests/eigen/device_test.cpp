// Attention on Eigen's devices: the same bits from any number of threads.

#define EIGEN_USE_THREADS

#include <gtest/gtest.h>

#include <vector>

#include "eigen/tensors.hpp"

namespace {

using relpos_test::lse_tensor;
using relpos_test::random_tensor;
using relpos_test::same_bits;
using relpos_test::tensor;

/// Enough query blocks for every thread to get some.
struct large_call {
  tensor q = random_tensor(2, 4, 400, 8, 1);
  tensor k = random_tensor(2, 2, 400, 8, 2);
  tensor v = random_tensor(2, 2, 400, 6, 3);
  std::vector<float> slopes{0.5f, 0.25f, 0.125f, 0.0625f};
  std::vector<float> table = std::vector<float>(std::size_t{32} * 4, 0.5f);

  template <class Device>
  void run(const Device& device, tensor& out, lse_tensor& lse) const {
    relpos::attention(device, out, q, k, v, relpos::alibi{slopes}, relpos::causal{},
                      relpos::t5_bias{table, relpos::unidirectional}, relpos::options{.lse = lse});
  }
};

/// The results of one thread.
struct expected {
  tensor out{2, 4, 400, 6};
  lse_tensor lse{2, 4, 400};
  explicit expected(const large_call& call) { call.run(Eigen::DefaultDevice(), out, lse); }
};

struct pool_of {
  explicit pool_of(int threads) : pool(threads), device(&pool, threads) {}
  Eigen::ThreadPool pool;
  Eigen::ThreadPoolDevice device;
};

void expect_same(const tensor& out, const lse_tensor& lse, const expected& wanted) {
  EXPECT_TRUE(same_bits(out, wanted.out));
  EXPECT_TRUE(same_bits(lse, wanted.lse));
}

TEST(eigen_device, any_number_of_threads_gives_the_bits_of_one) {
  const large_call call;
  const expected wanted(call);
  for (const int threads : {1, 2, 3, 7}) {
    pool_of many(threads);
    for (int repetition = 0; repetition < 5; ++repetition) {
      tensor out(2, 4, 400, 6);
      lse_tensor lse(2, 4, 400);
      call.run(many.device, out, lse);
      expect_same(out, lse, wanted);
    }
  }
}

TEST(eigen_device, the_returning_form_gives_these_bits_too) {
  const large_call call;
  pool_of two(2);
  tensor out(2, 4, 400, 6);
  relpos::attention(two.device, out, call.q, call.k, call.v, relpos::alibi{call.slopes});
  EXPECT_TRUE(
      same_bits(relpos::attention(call.q, call.k, call.v, relpos::alibi{call.slopes}), out));
}

// Every thread of the pool is inside a call: waiting for another one would be waiting for ever.
TEST(eigen_device, calls_from_inside_the_pool_end_with_the_same_bits) {
  const large_call call;
  const expected wanted(call);
  pool_of three(3);
  constexpr int calls = 6;
  std::vector<tensor> outs(calls, tensor(2, 4, 400, 6));
  std::vector<lse_tensor> lses(calls, lse_tensor(2, 4, 400));
  Eigen::Barrier all_done(calls);
  for (std::size_t i = 0; i < calls; ++i) {
    three.device.enqueueNoNotification([&, i] {
      call.run(three.device, outs[i], lses[i]);
      all_done.Notify();
    });
  }
  all_done.Wait();
  for (std::size_t i = 0; i < calls; ++i) expect_same(outs[i], lses[i], wanted);
}

TEST(eigen_device, calls_from_several_threads_may_share_a_pool) {
  const large_call call;
  const expected wanted(call);
  pool_of callers(3);
  pool_of shared(2);
  std::vector<tensor> outs(3, tensor(2, 4, 400, 6));
  std::vector<lse_tensor> lses(3, lse_tensor(2, 4, 400));
  Eigen::Barrier all_done(3);
  for (std::size_t i = 0; i < 3; ++i) {
    callers.device.enqueueNoNotification([&, i] {
      call.run(shared.device, outs[i], lses[i]);
      all_done.Notify();
    });
  }
  all_done.Wait();
  for (std::size_t i = 0; i < 3; ++i) expect_same(outs[i], lses[i], wanted);
}

TEST(eigen_device, an_empty_call_ends) {
  pool_of two(2);
  tensor out(2, 4, 0, 6);
  relpos::attention(two.device, out, tensor(2, 4, 0, 8), random_tensor(2, 2, 5, 8, 1),
                    random_tensor(2, 2, 5, 6, 2), relpos::causal{});
  EXPECT_EQ(out.size(), 0);
}

}  // namespace
