#include "relpos/core/status.hpp"

#include <gtest/gtest.h>

#include <string>
#include <type_traits>

namespace {

using relpos::status;
using relpos::status_code;

TEST(status, is_ok_without_a_message_by_default) {
  const status done;
  EXPECT_TRUE(done);
  EXPECT_EQ(done.code, status_code::ok);
  EXPECT_STREQ(done.message, "");
}

TEST(status, carries_a_code_and_a_formatted_message) {
  const status failed = status::error(status_code::overlap, "%s: %d of %g", "out", 3, 0.5);
  EXPECT_FALSE(failed);
  EXPECT_EQ(failed.code, status_code::overlap);
  EXPECT_STREQ(failed.message, "out: 3 of 0.5");
}

TEST(status, takes_a_message_without_values_literally) {
  EXPECT_STREQ(status::error(status_code::invalid_value, "100 %s").message, "100 %s");
}

TEST(status, cuts_a_message_at_its_capacity) {
  const std::string text(1000, 'x');
  const std::string kept(status::message_capacity - 1, 'x');
  EXPECT_EQ(status::error(status_code::invalid_value, text.c_str()).message, kept);
  EXPECT_EQ(status::error(status_code::invalid_value, "%s", text.c_str()).message, kept);
}

TEST(status, keeps_a_message_that_just_fits) {
  const std::string text(status::message_capacity - 1, 'y');
  EXPECT_EQ(status::error(status_code::invalid_value, "%s", text.c_str()).message, text);
}

static_assert(!std::is_convertible_v<status, bool>, "a status is asked for, not mistaken for");

}  // namespace
