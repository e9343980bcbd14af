// Rings: a window slides over memory of fixed size as over all rows, and what is evicted is not
// visible.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "kv_cache/caches.hpp"
#include "relpos/policies.hpp"
#include "support/reference.hpp"

namespace {

using relpos::index_t;
using support::attended;
using support::inputs;
using support::own_ring;

constexpr index_t rows = 1000;
constexpr index_t window = 100;
constexpr relpos::options of_prefill{.kernel = relpos::kernel_class::prefill};
constexpr relpos::options of_decode{.kernel = relpos::kernel_class::decode};

const inputs<float>& long_inputs() {
  static const inputs<float> in = support::random_inputs({.batch = 2,
                                                          .query_heads = 2,
                                                          .key_heads = 1,
                                                          .query_length = rows,
                                                          .key_length = rows,
                                                          .head_dim = 32,
                                                          .value_dim = 16},
                                                         17);
  return in;
}

own_ring<float> ring_of(index_t slab_rows, index_t sinks) {
  return own_ring<float>(
      {.batch = 2, .key_heads = 1, .rows = slab_rows, .head_dim = 32, .value_dim = 16}, sinks);
}

relpos::view<const float, 4> queries(index_t first, index_t last) {
  return long_inputs().q.view().slice(2, first, last - first);
}

/// Hides positions [first, last).
struct gap {
  index_t first;
  index_t last;

  bool keep(index_t, index_t k_pos) const { return k_pos < first || k_pos >= last; }
};

void expect_both_sequences(const attended<float>& got, const attended<float>& whole,
                           index_t first) {
  for (const index_t sequence : {0, 1}) {
    support::expect_same_rows(got, whole, first, sequence, sequence);
  }
}

template <class... Policies>
void expect_sliding(index_t sinks, const Policies&... policies) {
  const inputs<float>& in = long_inputs();
  for (const relpos::options& opts : {of_prefill, of_decode}) {
    const attended<float> whole = support::attend(in, opts, policies...);
    for (const index_t chunk : {1, 33, 64, 128}) {
      SCOPED_TRACE(testing::Message() << "chunks of " << chunk);
      own_ring<float> to = ring_of(sinks + window + chunk - 1, sinks);
      for (index_t first = 0; first < rows && !testing::Test::HasFatalFailure(); first += chunk) {
        const index_t last = std::min(first + chunk, rows);
        support::append_rows(to, in, first, last);
        expect_both_sequences(
            support::attend_cache(to.cache(), queries(first, last), opts, policies...), whole,
            first);
      }
    }
  }
}

TEST(ring_cache, a_window_slides_as_over_all_rows) {
  expect_sliding(0, relpos::band{window - 1, 0});
}

TEST(ring_cache, sinks_stay_beside_the_window) {
  for (const index_t sinks : {1, 4}) {
    expect_sliding(sinks, relpos::either{relpos::band{window - 1, 0}, relpos::sinks{sinks}},
                   relpos::causal{});
  }
}

/// The last five rows of `length` under causal{}, where rows [first_evicted, last_evicted) must not
/// be seen.
void expect_gap(own_ring<float>& of, index_t length, index_t first_evicted, index_t last_evicted,
                index_t offset = 0) {
  SCOPED_TRACE(testing::Message() << length << " rows, evicted " << first_evicted << " to "
                                  << last_evicted);
  const inputs<float>& in = long_inputs();
  const auto q = queries(length - 5, length);
  for (const relpos::kernel_class kernel :
       {relpos::kernel_class::prefill, relpos::kernel_class::decode}) {
    const relpos::options opts{.key_offset = offset, .kernel = kernel};
    support::expect_reference(support::attend_cache(of.cache(), q, opts, relpos::causal{}), q,
                              in.k.view().slice(2, 0, length), in.v.view().slice(2, 0, length),
                              opts, relpos::causal{},
                              gap{first_evicted + offset, last_evicted + offset});
  }
}

TEST(ring_cache, rows_that_are_gone_are_not_visible) {
  for (const index_t sinks : {0, 3}) {
    for (const index_t offset : {0, 1000, -77}) {
      own_ring<float> to = ring_of(sinks + 150, sinks);
      index_t first = 0;
      for (const index_t last : {5, 140, 150, 153, 154, 300, 301, 450, 583, 700}) {
        support::append_rows(to, long_inputs(), first, last);
        expect_gap(to, last, sinks, std::max(sinks, last - 150), offset);
        first = last;
      }
    }
  }
}

TEST(ring_cache, what_is_gone_is_by_sequence_and_its_offset) {
  const inputs<float>& in = long_inputs();
  own_ring<float> to = ring_of(153, 3);
  support::append_rows(to, in, 0, 100);
  const inputs<float> more = support::random_inputs(
      {.query_heads = 2, .key_length = 100, .head_dim = 32, .value_dim = 16}, 21);
  support::append_rows_of(to, 1, more, 0, 100);
  const std::vector<index_t> offsets{5 * 1024, -2 * 1024};
  const auto q = queries(195, 200);
  const attended<float> got = support::attend_cache(
      to.cache(), q, {.key_offsets = offsets, .kernel = relpos::kernel_class::decode},
      relpos::causal{});
  for (const index_t sequence : {0, 1}) {
    // Alone in a ring of its own, at 0.
    own_ring<float> alone(
        {.batch = 1, .key_heads = 1, .rows = 153, .head_dim = 32, .value_dim = 16}, 3);
    ASSERT_TRUE(relpos::append(relpos::serial{}, alone.cache(),
                               in.k.view().slice(0, sequence, 1).slice(2, 0, 100),
                               in.v.view().slice(0, sequence, 1).slice(2, 0, 100)));
    if (sequence == 1) support::append_rows(alone, more, 0, 100);
    const auto wanted =
        support::attend_cache(alone.cache(), q.slice(0, sequence, 1), of_decode, relpos::causal{});
    support::expect_same_rows(got, wanted, 0, sequence);
    EXPECT_EQ(to.oldest[static_cast<std::size_t>(sequence)], sequence == 0 ? 3 : 50);
  }
}

TEST(ring_cache, with_slack_all_is_as_if_drafts_never_were) {
  const inputs<float>& in = long_inputs();
  constexpr index_t most_drafts = 12;
  const attended<float> whole =
      support::attend(in, of_prefill, relpos::either{relpos::band{window - 1, 0}, relpos::sinks{2}},
                      relpos::causal{});
  own_ring<float> to = ring_of(2 + window + most_drafts, 2);
  to.window = window;
  support::random_numbers random(3);
  index_t have = 0;
  while (have < rows) {
    const index_t drafts = random.between(1, most_drafts);
    const index_t first = random.between(0, rows - drafts);  // any other rows
    support::append_rows(to, in, first, first + drafts);
    for (const index_t sequence : {0, 1}) {
      ASSERT_TRUE(relpos::truncate(to.cache(), sequence, have));
    }
    support::append_rows(to, in, have, have + 1);
    expect_both_sequences(
        support::attend_cache(to.cache(), queries(have, have + 1), of_prefill, relpos::causal{}),
        whole, have);
    if (HasFatalFailure()) return;
    ++have;
  }
}

TEST(ring_cache, more_rows_than_the_ring_holds_are_refused) {
  for (const index_t sinks : {0, 3}) {
    own_ring<float> to = ring_of(sinks + 20, sinks);
    support::append_rows(to, long_inputs(), 0, 20);
    const auto before = to.memory;
    const auto oldest = to.oldest;
    const relpos::status done =
        relpos::append(relpos::serial{}, to.cache(), long_inputs().k.view().slice(2, 0, 21),
                       long_inputs().v.view().slice(2, 0, 21));
    EXPECT_EQ(done.code, relpos::status_code::invalid_shape);
    EXPECT_NE(std::string(done.message).find("k: 21 rows at once, the ring holds 20"),
              std::string::npos)
        << done.message;
    EXPECT_TRUE(before == to.memory);
    EXPECT_EQ(to.oldest, oldest);
    EXPECT_EQ(to.lengths, (std::vector<index_t>{20, 20}));
    support::append_rows(to, long_inputs(), 20, 40);
    expect_gap(to, 40, sinks, std::max(sinks, index_t{20}));
  }
}

}  // namespace
