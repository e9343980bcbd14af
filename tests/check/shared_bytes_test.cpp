// Whether two views share a byte, against a list of the bytes of each.

#include "relpos/check/shared_bytes.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "relpos/check/overlap.hpp"
#include "support/random_tensors.hpp"

namespace {

using relpos::index_t;
using relpos::sharing;
using relpos::sharing_of;
using relpos::strided_bytes;
using relpos::view;

/// Every byte of every element.
std::vector<std::intptr_t> bytes_of(const strided_bytes& of) {
  std::vector<std::intptr_t> result{of.address};
  for (std::size_t axis = 0; axis < of.rank; ++axis) {
    std::vector<std::intptr_t> all;
    for (const std::intptr_t each : result) {
      for (index_t i = 0; i < of.shape[axis]; ++i) {
        all.push_back(each + i * of.strides[axis] * of.element_size);
      }
    }
    result = all;
  }
  std::vector<std::intptr_t> bytes;
  for (const std::intptr_t each : result) {
    for (index_t byte = 0; byte < of.element_size; ++byte) bytes.push_back(each + byte);
  }
  std::sort(bytes.begin(), bytes.end());
  return bytes;
}

bool share_by_listing(const strided_bytes& a, const strided_bytes& b) {
  const std::vector<std::intptr_t> of_a = bytes_of(a);
  const std::vector<std::intptr_t> of_b = bytes_of(b);
  return std::any_of(of_a.begin(), of_a.end(), [&](std::intptr_t each) {
    return std::binary_search(of_b.begin(), of_b.end(), each);
  });
}

std::string text(const strided_bytes& of) {
  std::string result = std::to_string(of.address) + ": " + std::to_string(of.element_size) + " x";
  for (std::size_t axis = 0; axis < of.rank; ++axis) {
    result += " " + std::to_string(of.shape[axis]) + " by " + std::to_string(of.strides[axis]);
  }
  return result;
}

/// Any strides at all, zero and negative ones too.
strided_bytes any_array(support::random_numbers& random, index_t largest_stride) {
  strided_bytes result{1000 + random.between(0, 120), index_t{1} << random.between(0, 3),
                       static_cast<std::size_t>(random.between(1, 4))};
  for (std::size_t axis = 0; axis < result.rank; ++axis) {
    result.shape[axis] = random.between(random.between(0, 5) == 0 ? 0 : 1, 4);
    result.strides[axis] = random.between(-largest_stride, largest_stride);
  }
  return result;
}

/// A slice of a tensor of this shape, its axes in any order.
strided_bytes slice_of(support::random_numbers& random, const std::array<index_t, 4>& shape,
                       index_t element_size) {
  strided_bytes result{1 << 20, element_size, 4};
  index_t stride = 1;
  for (std::size_t axis = 4; axis-- > 0;) {
    const index_t first = random.between(0, shape[axis] - 1);
    result.address += first * stride * element_size;
    result.shape[axis] = random.between(1, shape[axis] - first);
    result.strides[axis] = stride;
    stride *= shape[axis];
  }
  const auto other = static_cast<std::size_t>(random.between(0, 3));
  std::swap(result.shape[0], result.shape[other]);
  std::swap(result.strides[0], result.strides[other]);
  return result;
}

void expect_as_listed(const strided_bytes& a, const strided_bytes& b, int& shared) {
  const bool expected = share_by_listing(a, b);
  shared += expected ? 1 : 0;
  ASSERT_EQ(sharing_of(a, b), expected ? sharing::some : sharing::none) << text(a) << "\n"
                                                                        << text(b);
}

TEST(shared_bytes, any_strides_and_elements_of_any_size) {
  support::random_numbers random(1);
  int shared = 0;
  constexpr int pairs = 6000;
  for (int pair = 0; pair < pairs; ++pair) {
    const index_t largest = pair % 3 == 0 ? 8 : 60;
    const strided_bytes a = any_array(random, largest);
    expect_as_listed(a, any_array(random, largest), shared);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(shared, pairs / 10);
  EXPECT_LT(shared, pairs * 9 / 10);
}

TEST(shared_bytes, slices_of_one_tensor) {
  support::random_numbers random(2);
  int shared = 0;
  constexpr int pairs = 3000;
  for (int pair = 0; pair < pairs; ++pair) {
    const std::array<index_t, 4> shape{random.between(1, 4), random.between(1, 5),
                                       random.between(1, 3), 4 * random.between(1, 3)};
    // The same bytes as elements of another size.
    std::array<index_t, 4> narrow = shape;
    narrow[3] *= 2;
    const strided_bytes a = slice_of(random, shape, 4);
    expect_as_listed(a, pair % 2 == 0 ? slice_of(random, shape, 4) : slice_of(random, narrow, 2),
                     shared);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(shared, pairs / 10);
  EXPECT_LT(shared, pairs * 9 / 10);
}

TEST(shared_bytes, views_of_nothing_share_none) {
  const view<const float, 4> none(nullptr, {2, 0, 3, 4});
  const view<const float, 4> some(nullptr, {2, 1, 3, 4});
  EXPECT_EQ(sharing_of(strided_bytes::of(none), strided_bytes::of(some)), sharing::none);
  EXPECT_EQ(sharing_of(strided_bytes::of(some), strided_bytes::of(none)), sharing::none);
  EXPECT_EQ(sharing_of(strided_bytes::of(some), strided_bytes::of_range(7, 7)), sharing::none);
  EXPECT_EQ(sharing_of(strided_bytes::of(some), strided_bytes::of_range(7, 8)), sharing::some);
}

// The stride of an axis with one element is never taken, and its bytes need not be countable.
TEST(shared_bytes, any_stride_of_one_element) {
  constexpr index_t largest = std::numeric_limits<index_t>::max();
  const float numbers[2]{};
  const view<const float, 2> a(numbers, {1, 2}, {largest, 1});
  const view<const float, 2> b(numbers + 1, {1, 1}, {-largest, largest});
  const view<const float, 2> c(numbers, {1, 1}, {-largest, largest});
  EXPECT_EQ(sharing_of(strided_bytes::of(a), strided_bytes::of(b)), sharing::some);
  EXPECT_EQ(sharing_of(strided_bytes::of(b), strided_bytes::of(c)), sharing::none);
}

/// Keys and values of 100 GB of pages, [page, 2, row, head, channel] and [page, row, head, 2
/// channel], are decided in a handful of steps.
TEST(shared_bytes, pages_of_keys_and_values_are_decided_at_once) {
  constexpr index_t pages = 3000000, rows = 16, heads = 8, d = 128;
  constexpr index_t page = 2 * rows * heads * d;
  constexpr int few = 8;
  for (const index_t channels : {d, 2 * d}) {
    const index_t apart = channels == d ? page / 2 : d;
    const strided_bytes keys{
        1 << 20, 2, 4, {pages, heads, rows, d}, {page, channels, heads * channels, 1}};
    strided_bytes values = keys;
    values.address += 2 * apart;
    EXPECT_EQ(sharing_of(keys, values, few), sharing::none);
    for (const index_t shift : {-1, 1}) {
      strided_bytes shifted = values;
      shifted.address += shift;
      EXPECT_EQ(sharing_of(keys, shifted, few), sharing::some) << shift;
    }
    // One value short, and the same shift is harmless.
    values.shape[3] = d - 1;
    values.address += 2;
    EXPECT_EQ(sharing_of(keys, values, few), sharing::none);
  }
}

/// Strides of which no sum is the one sought, which is known only after very many were tried.
TEST(shared_bytes, what_is_not_decided_is_not_called_overlapping) {
  constexpr index_t at = 902280;
  std::vector<unsigned char> block(40 * (10007 + 11003 + 12007 + 13003));
  const view<unsigned char, 4> tangled(block.data(), {40, 40, 40, 40},
                                       {10007, 11003, 12007, 13003});
  const view<unsigned char, 2> byte(block.data() + at, {1, 1});
  const auto decide = [&](int steps) {
    return sharing_of(strided_bytes::of(tangled), strided_bytes::of(byte), steps);
  };
  EXPECT_EQ(decide(relpos::max_sharing_steps), sharing::unknown);
  EXPECT_EQ(decide(1 << 30), sharing::none);
  relpos::status refused;
  relpos::check_apart(relpos::labelled_memory("out", byte), relpos::labelled_memory("q", tangled),
                      refused);
  EXPECT_EQ(refused.code, relpos::status_code::overlap);
  EXPECT_STREQ(refused.message,
               "out: memory of out [1, 1] may overlap q [40, 40, 40, 40]: the ranges that they "
               "span overlap, and their strides do not show that elements are distinct");
}

/// Sums that a common divisor rules out are steps too: there may be a billion of them.
TEST(shared_bytes, long_arrays_of_strides_without_a_common_divisor) {
  constexpr index_t many = index_t{1} << 29;
  const strided_bytes a{0, 1, 1, {many}, {1000000007}};
  const strided_bytes b{1, 1, 1, {many}, {1000000009}};
  EXPECT_EQ(sharing_of(a, b), sharing::unknown);
}

}  // namespace
