#include "relpos/call/arguments.hpp"

#include <gtest/gtest.h>

#include <tuple>
#include <type_traits>

namespace {

using relpos::index_t;
using relpos::options;
using relpos::options_of;
using relpos::policies_of;

struct halving {
  int number;
  double tabulated_bias(index_t, index_t distance) const {
    return static_cast<double>(distance) / 2;
  }
};
struct diagonal {
  constexpr relpos::key_range visible_keys(index_t q_pos) const { return {q_pos, q_pos + 1}; }
};
struct warm {
  static constexpr float softmax_temperature() { return 2.0f; }
};

TEST(call, policies_keep_their_order_and_options_are_left_out) {
  const auto policies = policies_of(diagonal{}, options{.softcap = 3.0f}, halving{7}, warm{});
  static_assert(std::is_same_v<decltype(policies), const std::tuple<diagonal, halving, warm>>);
  EXPECT_EQ(std::get<halving>(policies).number, 7);
}

TEST(call, options_are_found_anywhere) {
  const options opts{.softcap = 3.0f};
  EXPECT_EQ(options_of(opts, halving{}, diagonal{}).softcap, 3.0f);
  EXPECT_EQ(options_of(halving{}, opts, diagonal{}).softcap, 3.0f);
  EXPECT_EQ(options_of(halving{}, diagonal{}, opts).softcap, 3.0f);
}

TEST(call, options_have_defaults) {
  const options opts = options_of(halving{});
  EXPECT_FALSE(opts.scale);
  EXPECT_EQ(opts.softcap, 0.0f);
  EXPECT_FALSE(opts.lse);
  EXPECT_FALSE(opts.query_offset);
  EXPECT_EQ(opts.key_offset, 0);
  EXPECT_EQ(std::tuple_size_v<decltype(policies_of())>, 0u);
}

struct nothing {};
struct owner {
  owner(const owner&) {}
  static constexpr float softmax_temperature() { return 2.0f; }
};
struct answers_text {
  static const char* tabulated_bias(index_t, index_t) { return ""; }
};
static_assert(relpos::policy<halving> && relpos::policy<diagonal> && relpos::policy<warm>);
static_assert(!relpos::policy<nothing> && !relpos::policy<int> && !relpos::policy<answers_text>);
static_assert(!relpos::policy<owner>, "policies are copied bit by bit");
static_assert(relpos::is_bias<halving> && !relpos::is_mask<halving>);
static_assert(relpos::is_mask<diagonal> && !relpos::is_temperature<diagonal>);
static_assert(relpos::is_temperature<warm> && !relpos::is_bias<warm>);

/// Looked for in what bind returns, for one head or for one head of one batch entry.
struct per_head {
  static constexpr warm bind(index_t) { return {}; }
};
struct per_batch_and_head {
  static constexpr diagonal bind(index_t, index_t) { return {}; }
};
static_assert(relpos::is_temperature<per_head> && relpos::is_mask<per_batch_and_head>);

}  // namespace
