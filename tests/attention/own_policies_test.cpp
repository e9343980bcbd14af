// Policies as users write them, with every member that the contract offers.

#include <gtest/gtest.h>

#include "relpos/policies.hpp"
#include "support/attend.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using relpos::key_range;
using support::inputs;

inputs<float> two_batches() {
  return support::random_inputs({.batch = 2,
                                 .query_heads = 2,
                                 .key_heads = 1,
                                 .query_length = 70,
                                 .key_length = 300,
                                 .head_dim = 8,
                                 .value_dim = 8},
                                59);
}

/// A vector-generic bias of the same kind for all heads, that cannot be scaled.
struct rational_decay {
  float strength;
  template <class Real>
  Real bias(Real distance) const {
    return -strength * abs(distance) / (abs(distance) + Real(10.0f));
  }
};

TEST(own_policies, computed_bias_without_scaling) {
  expect_reference_of(two_batches(), {.query_offset = 100}, rational_decay{4.0f});
  expect_reference_of(two_batches(), {.softcap = 2.0f, .query_offset = 100}, rational_decay{4.0f},
                      relpos::temperature{0.5});
}

/// Clipped relative positions: one value per distance, and the same for all that are farther.
struct clipped {
  index_t reach_left;
  index_t reach_right;

  double tabulated_bias(index_t head, index_t distance) const {
    if (distance < -reach_left) return 2.0;
    if (distance > reach_right) return -3.0;
    return static_cast<double>((distance * 7 + head) % 5);
  }
  relpos::distance_range varies() const { return {-reach_left, reach_right}; }
};

TEST(own_policies, tabulated_bias_that_saturates) {
  for (const index_t query_offset : {0, 100, 240, 500, -200}) {
    const relpos::options opts{.query_offset = query_offset};
    expect_reference_of(two_batches(), opts, clipped{20, 30});
    expect_reference_of(two_batches(), opts, clipped{0, 0});
    expect_reference_of(two_batches(), opts, clipped{100, 0}, relpos::band{300, 0});
  }
}

/// Keeps whatever is a multiple of 5 apart, and cannot say it of tiles.
struct every_fifth {
  bool keep(index_t q_pos, index_t k_pos) const { return (q_pos - k_pos) % 5 == 0; }
};

TEST(own_policies, element_masks_that_know_no_tiles) {
  expect_reference_of(two_batches(), {}, every_fifth{});
  expect_reference_of(two_batches(), {}, every_fifth{}, relpos::causal{}, relpos::band{140, 3});
}

/// Bias and mask in one, different for each head.
struct fading_window {
  struct own {
    float slope;
    index_t reach;
    template <class Real>
    Real bias(Real distance) const {
      return slope * distance;
    }
    key_range visible_keys(index_t q_pos) const { return {q_pos - reach, q_pos + 1}; }
  };
  own bind(index_t head) const { return head == 0 ? own{0.01f, 30} : own{0.3f, 150}; }
};

TEST(own_policies, bias_and_mask_in_one) {
  expect_reference_of(two_batches(), {}, fading_window{});
  expect_reference_of(two_batches(), {}, fading_window{}, relpos::temperature{2.0});
}

/// A mask that binds to its own type, wider from head to head.
struct bound_window {
  index_t reach = 0;
  constexpr bound_window bind(index_t head) const { return {20 + 1500 * head}; }
  constexpr key_range visible_keys(index_t q_pos) const { return {q_pos - reach, q_pos + 1}; }
};

TEST(own_policies, a_mask_may_bind_to_its_own_type) {
  // The call of one query, whose keys no other query sees.
  const auto in = support::random_inputs({.batch = 1,
                                          .query_heads = 2,
                                          .key_heads = 1,
                                          .query_length = 1,
                                          .key_length = 2000,
                                          .head_dim = 8,
                                          .value_dim = 8},
                                         61);
  for (const auto kernel : {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    expect_reference_of(in, {.kernel = kernel}, bound_window{});
  }
}

}  // namespace
