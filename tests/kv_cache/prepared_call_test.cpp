// A call over a cache is checked once, and is another one where the cache has grown.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <unsupported/Eigen/CXX11/Tensor>
#include <utility>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/relpos.hpp"

namespace {

using relpos::index_t;
using relpos::serial;
using relpos::status;
using relpos::status_code;
using support::inputs;

/// A contiguous cache that counts how often its room is looked at.
struct counting_placement : relpos::contiguous_placement {
  int* checks = nullptr;

  status check_room(index_t sequence, index_t rows, const std::array<index_t, 4>& keys,
                    index_t checked) const {
    ++*checks;
    return contiguous_placement::check_room(sequence, rows, keys, checked);
  }
};

constexpr support::cache_sizes rows_of_cache{.batch = 2, .key_heads = 2, .rows = 40};

inputs<float> inputs_of_cache() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 4,
                                 .key_heads = 2,
                                 .query_length = 3,
                                 .key_length = 40,
                                 .head_dim = 8,
                                 .value_dim = 8},
                                17);
}

TEST(prepared_call, runs_again_over_the_same_rows_of_a_cache) {
  inputs<float> in = inputs_of_cache();
  support::own_paged<float> own(rows_of_cache);
  support::append_rows(own, in, 0, 37);
  support::tensor<float> out({2, 4, 3, 8});
  const auto call =
      relpos::prepare(serial{}, out.view(), in.q.view(), own.cache(), relpos::causal{});
  std::vector<std::byte> memory(call.workspace_bytes());
  for (int round = 0; round < 2; ++round) {
    const auto wanted =
        support::attend_cache(own.cache(), std::as_const(in.q).view(), {}, relpos::causal{});
    ASSERT_TRUE(call.run(serial{}, memory));
    EXPECT_TRUE(same_bits(out, wanted.out));
    for (float& each : in.q.values) each = -each;
    for (float& each : own.memory.values.values) each *= 0.5f;
  }
}

TEST(prepared_call, refuses_a_cache_that_has_grown) {
  const inputs<float> in = inputs_of_cache();
  support::own_contiguous<float> own(rows_of_cache);
  support::append_rows(own, in, 0, 30);
  support::tensor<float> out({2, 4, 3, 8}, -1.0f);
  const auto call = relpos::prepare(serial{}, out.view(), in.q.view(), own.cache());
  std::vector<std::byte> memory(2 * call.workspace_bytes());
  ++own.lengths[1];
  const status done = call.run(serial{}, memory);
  EXPECT_EQ(done.code, status_code::invalid_value);
  EXPECT_NE(std::string(done.message).find("cache.lengths"), std::string::npos);
  EXPECT_TRUE(
      std::all_of(out.values.begin(), out.values.end(), [](float x) { return x == -1.0f; }));
  --own.lengths[1];
  EXPECT_TRUE(call.run(serial{}, memory));
}

TEST(prepared_call, looks_at_the_places_of_a_sequence_once) {
  inputs<float> in = inputs_of_cache();
  support::own_contiguous<float> own(rows_of_cache);
  support::append_rows(own, in, 0, 30);
  int checks = 0;
  const relpos::kv_cache<float, counting_placement> cache{
      own.memory.memory(), own.lengths, {{}, &checks}};
  support::tensor<float> out({2, 4, 3, 8});
  const auto call = relpos::prepare(serial{}, out.view(), in.q.view(), cache);
  std::vector<std::byte> memory(call.workspace_bytes());
  ASSERT_TRUE(call.run(serial{}, memory));
  ASSERT_TRUE(call.run(serial{}, memory));
  EXPECT_EQ(checks, 2);  // sequences

  checks = 0;
  ASSERT_TRUE(relpos::attention(serial{}, memory, out.view(), in.q.view(), cache));
  EXPECT_EQ(checks, 2);

  checks = 0;
  using map = Eigen::TensorMap<Eigen::Tensor<float, 4, Eigen::RowMajor>>;
  map to(out.values.data(), 2, 4, 3, 8);
  const map q(in.q.values.data(), 2, 4, 3, 8);
  relpos::attention(Eigen::DefaultDevice(), to, q, cache);
  EXPECT_EQ(checks, 2);
}

TEST(prepared_call, of_which_a_copy_is_left) {
  const inputs<float> in = inputs_of_cache();
  support::own_contiguous<float> own(rows_of_cache);
  support::append_rows(own, in, 0, 30);
  support::tensor<float> out({2, 4, 3, 8});
  const auto copy = [&] {
    const auto original =
        relpos::prepare(serial{}, out.view(), in.q.view(), own.cache(), relpos::causal{});
    return std::vector{original, original};
  }();
  std::vector<std::byte> memory(copy[1].workspace_bytes());
  ASSERT_TRUE(copy[1].run(serial{}, memory));
  const auto wanted = support::attend_cache(own.cache(), in.q.view(), {}, relpos::causal{});
  EXPECT_TRUE(same_bits(out, wanted.out));
}

}  // namespace
