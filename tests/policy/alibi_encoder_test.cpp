#include "relpos/policy/alibi_encoder.hpp"

#include <gtest/gtest.h>

#include "support/attend.hpp"
#include "support/naive.hpp"

namespace {

using relpos::index_t;
using support::inputs;
using support::meaning;

const std::vector<float> slopes{0.5f, 0.07f, 0.011f, 0.93f};
const std::vector<float> right_slopes{0.02f, 0.4f, 1.3f, 0.08f};

double slope(index_t head) { return slopes[static_cast<std::size_t>(head)]; }
double right_slope(index_t head) { return right_slopes[static_cast<std::size_t>(head)]; }

/// 40 queries in the middle of 300 keys.
struct encoder_call {
  inputs<float> in = support::random_inputs({.batch = 1,
                                             .query_heads = 4,
                                             .key_heads = 4,
                                             .query_length = 40,
                                             .key_length = 300,
                                             .head_dim = 8,
                                             .value_dim = 8},
                                            23);
  relpos::options opts{.query_offset = 120};

  template <class Policy>
  void expect(const Policy& policy, meaning means) const {
    means.query_offset = 120;
    expect_means(attend(in, opts, policy), in, means);
  }
};

TEST(alibi_encoder, symmetric_falls_on_both_sides) {
  encoder_call().expect(
      relpos::alibi_symmetric{slopes}, {.bias = [](index_t head, index_t distance) {
        return -slope(head) * static_cast<double>(distance < 0 ? -distance : distance);
      }});
}

TEST(alibi_encoder, two_sided_has_a_slope_for_each_side) {
  encoder_call().expect(relpos::alibi_two_sided{slopes, right_slopes},
                        {.bias = [](index_t head, index_t distance) {
                          const auto d = static_cast<double>(distance);
                          return distance > 0 ? -right_slope(head) * d : slope(head) * d;
                        }});
}

TEST(alibi_encoder, offset_moves_later_keys_half_a_slope_up) {
  encoder_call().expect(relpos::alibi_offset{slopes}, {.bias = [](index_t head, index_t distance) {
                          const auto d = static_cast<double>(distance);
                          return distance > 0 ? -slope(head) * d + slope(head) / 2
                                              : slope(head) * d;
                        }});
}

meaning half_left_half_right(index_t left_heads, double multiplier = 1.0) {
  return {.bias =
              [multiplier](index_t head, index_t distance) {
                return -multiplier * slope(head) *
                       static_cast<double>(distance < 0 ? -distance : distance);
              },
          .visible =
              [left_heads](index_t head, index_t q_pos, index_t k_pos) {
                return head < left_heads ? k_pos <= q_pos : k_pos >= q_pos;
              }};
}

TEST(alibi_encoder, one_sided_heads_are_blind_on_the_other_side) {
  encoder_call().expect(relpos::alibi_one_sided{slopes}, half_left_half_right(2));
}

TEST(alibi_encoder, one_sided_shard_says_how_many_of_its_heads_look_left) {
  for (const index_t left_heads : {0, 1, 3, 4}) {
    encoder_call().expect(relpos::alibi_one_sided{slopes, left_heads, 0.25f},
                          half_left_half_right(left_heads, 0.25));
  }
}

TEST(alibi_encoder, multiplier_scales_both_sides) {
  encoder_call().expect(relpos::alibi_two_sided{slopes, right_slopes, 0.125f},
                        {.bias = [](index_t head, index_t distance) {
                          const auto d = static_cast<double>(distance) * 0.125;
                          return distance > 0 ? -right_slope(head) * d : slope(head) * d;
                        }});
  encoder_call().expect(relpos::alibi_offset{slopes, 0.125f},
                        {.bias = [](index_t head, index_t distance) {
                          const auto d = static_cast<double>(distance);
                          return 0.125 * slope(head) * (distance > 0 ? -d + 0.5 : d);
                        }});
}

}  // namespace
