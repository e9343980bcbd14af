// Rows of Eigen tensors that are appended to a cache, with values or as keys alone.

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "eigen/tensors.hpp"
#include "relpos/caches.hpp"

namespace {

using relpos::index_t;
using relpos_test::random_tensor;
using relpos_test::same_bits;
using relpos_test::tensor;

const Eigen::DefaultDevice device;

TEST(eigen_append, keys_alone_to_a_latent_cache) {
  tensor keys(2, 1, 3, 8);
  keys.setZero();
  std::vector<index_t> lengths{0, 0};
  const relpos::contiguous_cache<float> cache{relpos::latent_memory<float>(keys, 6), lengths};
  const tensor k = random_tensor(2, 1, 3, 8, 1);
  relpos::append(device, cache, k);
  EXPECT_TRUE(same_bits(keys, k));
  EXPECT_EQ(lengths, (std::vector<index_t>{3, 3}));
  EXPECT_EQ(cache.value_dim(), 6);
}

TEST(eigen_append, refusals_are_thrown) {
  tensor keys(1, 1, 3, 8), values(1, 1, 3, 6);
  std::vector<index_t> lengths{0};
  const tensor k = random_tensor(1, 1, 1, 8, 1);
  const tensor v = random_tensor(1, 1, 1, 6, 2);
  const auto message = [](const auto& call) {
    try {
      call();
    } catch (const std::invalid_argument& refused) {
      return std::string(refused.what());
    }
    return std::string("was not refused");
  };
  const relpos::contiguous_cache<float> latent{relpos::latent_memory<float>(keys, 6), lengths};
  const relpos::contiguous_cache<float> plain{{keys, values}, lengths};
  EXPECT_NE(message([&] { relpos::append(device, latent, k, v); }).find("relpos: v: is given"),
            std::string::npos);
  EXPECT_NE(message([&] { relpos::append(device, plain, k); }).find("relpos: v: must be given"),
            std::string::npos);
  relpos::append(device, plain, k, v);
  EXPECT_EQ(lengths, std::vector<index_t>{1});
}

}  // namespace
