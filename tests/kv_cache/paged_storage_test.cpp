// Pages: attention over appended rows of every storage is the reference over the rows as stored.

#include <gtest/gtest.h>

#include "kv_cache/caches.hpp"
#include "kv_cache/prefill_and_decode.hpp"

namespace {

using support::cache_sizes;

template <class Stored>
void expect_stored() {
  using own = support::own_paged<Stored>;
  support::expect_policies<own>(
      [](const cache_sizes& of) { return own(of, of.head_dim == 24 ? 16 : 48); });
}

TEST(paged_cache, of_float_is_the_reference_over_all_rows) { expect_stored<float>(); }
TEST(paged_cache, of_bfloat16_is_the_reference_over_rounded_rows) {
  expect_stored<relpos::bfloat16>();
}
TEST(paged_cache, of_half_is_the_reference_over_rounded_rows) { expect_stored<relpos::half>(); }
TEST(paged_cache, of_int8_is_the_reference_over_rounded_rows) { expect_stored<relpos::int8>(); }
TEST(paged_cache, of_float8_is_the_reference_over_rounded_rows) {
  expect_stored<relpos::float8_e5m2>();
}

}  // namespace
