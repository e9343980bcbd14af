// A call that the kernels of the GPU are not made for is refused in words.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "relpos/cuda/check.hpp"

namespace {

using relpos::half;
using relpos::index_t;
using relpos::status_code;
using rows = relpos::view<const half, 4>;

alignas(16) const half numbers[64] = {};

rows of(index_t head_dim) { return rows(numbers, {2, 4, 8, head_dim}); }

void expect_refused(const rows& q, const rows& k, const rows& v, status_code code,
                    const std::string& words) {
  const relpos::status got = relpos::check_device_call(q, k, v, {});
  EXPECT_EQ(got.code, code) << got.message;
  EXPECT_NE(std::string(got.message).find(words), std::string::npos) << got.message;
}

TEST(check_device_call, what_fits) {
  for (const index_t head_dim : {64, 96, 128, 256}) {
    EXPECT_TRUE(relpos::check_device_call(of(head_dim), of(head_dim), of(head_dim), {}));
  }
  // [batch, position, head, channel].
  const rows strided(numbers, {2, 4, 8, 64}, {8 * 256, 64, 256, 1});
  EXPECT_TRUE(relpos::check_device_call(strided, strided, strided, {}));
  // The stride of an axis of one is never stepped over.
  const rows one(numbers, {1, 1, 8, 64}, {3, 5, 64, 1});
  EXPECT_TRUE(relpos::check_device_call(one, one, one, {}));
  const rows none(nullptr, {2, 4, 0, 64});
  EXPECT_TRUE(relpos::check_device_call(none, none, none, {}));
}

TEST(check_device_call, head_dims) {
  for (const index_t head_dim : {1, 32, 80, 160, 512}) {
    expect_refused(of(head_dim), of(head_dim), of(head_dim), status_code::invalid_shape,
                   "q: head_dim must be 64, 96, 128 or 256 on a GPU");
  }
  expect_refused(of(64), of(64), of(128), status_code::invalid_shape, "v: value_dim");
  EXPECT_TRUE(relpos::check_device_call<relpos::head_dims<128>>(of(128), of(128), of(128), {}));
  EXPECT_FALSE(relpos::check_device_call<relpos::head_dims<128>>(of(64), of(64), of(64), {}));
}

TEST(check_device_call, rows_that_do_not_begin_at_16_bytes) {
  const rows good = of(64);
  const rows shifted(numbers + 1, {2, 4, 8, 64});
  const rows wide(numbers, {2, 4, 8, 64}, {4 * 8 * 65, 8 * 65, 65, 1});
  const rows apart(numbers, {2, 4, 8, 64}, {4 * 8 * 128, 8 * 128, 128, 2});
  for (const char* const name : {"q: ", "k: ", "v: "}) {
    const auto refuse = [&](const rows& bad, const char* words) {
      expect_refused(name[0] == 'q' ? bad : good, name[0] == 'k' ? bad : good,
                     name[0] == 'v' ? bad : good, status_code::invalid_stride,
                     std::string(name) + words);
    };
    refuse(shifted, "data must be aligned to 16 bytes");
    refuse(wide, "strides must be multiples of 8");
    refuse(apart, "channels must be contiguous");
  }
}

TEST(check_device_call, more_heads_than_a_launch_has) {
  const rows many(numbers, {70000, 4, 0, 64});
  expect_refused(many, many, many, status_code::invalid_shape, "at most 65535");
}

}  // namespace
