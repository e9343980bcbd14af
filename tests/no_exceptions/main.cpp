// The view form without exceptions, RTTI and Eigen: it computes, refuses by status, and allocates
// nothing. Prints what is wrong and returns 1.

#include <relpos/views.hpp>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <type_traits>

#include "allocations.hpp"

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "compile with -fno-exceptions -fno-rtti"
#endif
#ifdef EIGEN_WORLD_VERSION
#error "the view form includes Eigen"
#endif

namespace {

using relpos::index_t;
using relpos::status;
using relpos::status_code;
using relpos::view;

bool failed = false;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::printf("failed: %s\n", what);
  failed = true;
}

constexpr index_t heads = 4;
constexpr index_t queries = 60;
constexpr index_t keys = 200;
constexpr index_t channels = 16;

float q_values[heads * queries * channels];
relpos::half k_values[heads * keys * channels];
relpos::bfloat16 v_values[heads * keys * channels];
float out_values[2][heads * queries * channels];
float lse_values[2][heads * queries];
float entropy_values[heads * queries];
float slopes_values[heads];
float table[32 * heads];
float matrix[queries * keys];
alignas(64) std::byte memory[1 << 20];

/// Containers that allocate nothing.
template <class T>
struct span {
  T* begin_;
  std::size_t count;
  T* data() const { return begin_; }
  std::size_t size() const { return count; }
};
span<float> slopes{slopes_values, heads};
span<float> t5_table{table, 32 * heads};

/// All rows of V are the same, so that every weighted mean is.
constexpr float row_of_v(index_t channel) { return static_cast<float>(channel) - 7.5f; }

void fill_inputs() {
  unsigned seed = 1;
  const auto next = [&seed] {
    seed = seed * 1664525u + 1013904223u;
    return static_cast<float>(seed >> 8) * 0x1p-23f - 1.0f;
  };
  for (float& x : q_values) x = next();
  for (relpos::half& x : k_values) x = relpos::half(next());
  for (index_t i = 0; i < heads * keys * channels; ++i) {
    v_values[i] = relpos::bfloat16(row_of_v(i % channels));
  }
  for (float& x : slopes_values) x = 0.25f;
  for (float& x : table) x = next();
  for (float& x : matrix) x = next();
}

const view<const float, 4> q(q_values, {1, heads, queries, channels});
const view<const relpos::half, 4> k(k_values, {1, heads, keys, channels});
const view<const relpos::bfloat16, 4> v(v_values, {1, heads, keys, channels});

relpos::partial_state state(int i) noexcept {
  return {view<float, 4>(out_values[i], {1, heads, queries, channels}),
          view<float, 3>(lse_values[i], {1, heads, queries})};
}

/// Two workers, one thread: an executor of somebody else's.
struct alternating {
  static index_t workers() { return 2; }
  template <class Item>
  static void run(index_t count, Item&& item) {
    for (index_t i = 0; i < count; ++i) item(i, i % 2);
  }
};

bool is_weighted_mean(const relpos::partial_state& result) {
  for (index_t h = 0; h < heads; ++h) {
    for (index_t row = 0; row < queries; ++row) {
      if (!std::isfinite(result.lse(0, h, row))) return false;
      for (index_t c = 0; c < channels; ++c) {
        if (!(std::abs(result.out(0, h, row, c) - row_of_v(c)) < 1e-5f)) return false;
      }
    }
  }
  return true;
}

template <class... Policies>
void expect_computed(const char* what, const Policies&... policies) {
  const relpos::partial_state to = state(0);
  const view<float, 3> entropy(entropy_values, {1, heads, queries});
  for (float& x : out_values[0]) x = NAN;
  const long before = allocations();
  const std::size_t bytes = relpos::workspace_bytes(alternating{}, q, k, v, policies...);
  const status done = relpos::attention(
      alternating{}, relpos::workspace(memory, bytes), to.out, q, k, v, policies...,
      relpos::options{.softcap = 20.0f, .lse = to.lse, .statistics = {.entropy = entropy}});
  expect(allocations() == before, what);
  expect(bytes <= sizeof memory && done && is_weighted_mean(to), what);
}

void expect_partials_merge() {
  const long before = allocations();
  const index_t cut = 77;
  const auto slice = [](const auto& rows, index_t first, index_t count) {
    auto result = rows;
    result.data += first * rows.strides[2];
    result.shape[2] = count;
    return result;
  };
  const relpos::options early{.query_offset = keys - queries};
  const relpos::options late{.query_offset = keys - queries, .key_offset = cut};
  const status first = relpos::partial(relpos::serial{}, relpos::workspace(memory, sizeof memory),
                                       state(0), q, slice(k, 0, cut), slice(v, 0, cut),
                                       relpos::causal{}, relpos::alibi{slopes}, early);
  const status second =
      relpos::partial(relpos::serial{}, relpos::workspace(memory, sizeof memory), state(1), q,
                      slice(k, cut, keys - cut), slice(v, cut, keys - cut), relpos::causal{},
                      relpos::alibi{slopes}, late);
  const status merged = relpos::merge(relpos::serial{}, state(0), state(1));
  expect(allocations() == before, "partial and merge allocate");
  expect(first && second && merged && is_weighted_mean(state(0)), "partial and merge");
}

template <class Call>
void expect_refused(status_code code, Call call) {
  const long before = allocations();
  const status done = call();
  expect(allocations() == before, "a refused call allocates");
  expect(done.code == code && done.message[0] != '\0', "a call is refused with its code");
}

void expect_refusals() {
  const auto with = [](const view<const float, 4>& query, std::size_t bytes,
                       const relpos::options& opts) {
    return relpos::attention(alternating{}, relpos::workspace(memory, bytes), state(0).out, query,
                             k, v, relpos::alibi{slopes}, relpos::causal{}, opts);
  };
  const std::size_t bytes =
      relpos::workspace_bytes(alternating{}, q, k, v, relpos::alibi{slopes}, relpos::causal{});
  view<const float, 4> spoiled = q;
  spoiled.shape[3] = 8;
  expect_refused(status_code::invalid_shape, [&] { return with(spoiled, bytes, {}); });
  spoiled = q;
  spoiled.data = nullptr;
  expect_refused(status_code::null_data, [&] { return with(spoiled, bytes, {}); });
  spoiled.data = out_values[0];
  expect_refused(status_code::overlap, [&] { return with(spoiled, bytes, {}); });
  expect_refused(status_code::workspace_too_small, [&] { return with(q, bytes - 1, {}); });
  expect_refused(status_code::invalid_value, [&] { return with(q, bytes, {.softcap = -0.5f}); });
  relpos::options broadcast{.lse = state(0).lse};
  broadcast.lse->strides = {0, 0, 0};
  expect_refused(status_code::invalid_stride, [&] { return with(q, bytes, broadcast); });
  slopes.count = 3;
  expect_refused(status_code::invalid_shape, [&] { return with(q, bytes, {}); });
  slopes.count = heads;
  expect_refused(status_code::overlap,
                 [] { return relpos::merge(relpos::serial{}, state(0), state(0)); });
}

void expect_allocations_are_counted() {
  const long before = allocations();
  void* volatile by_new = ::operator new(8);
  expect(allocations() > before, "operator new is not counted");
  ::operator delete(by_new);
  const long between = allocations();
  void* volatile by_malloc = std::malloc(8);
  expect(!counts_malloc() || allocations() > between, "malloc is not counted");
  std::free(by_malloc);
}

static_assert(noexcept(relpos::attention(relpos::serial{}, relpos::workspace{}, state(0).out, q, k,
                                         v, relpos::causal{})));
static_assert(noexcept(relpos::workspace_bytes(relpos::serial{}, q, k, v)));
static_assert(noexcept(relpos::partial(relpos::serial{}, relpos::workspace{}, state(0), q, k, v)));
static_assert(noexcept(relpos::merge(relpos::serial{}, state(0), state(1))));

}  // namespace

int main() {
  fill_inputs();
  expect_allocations_are_counted();
  expect_computed("alibi, causal", relpos::alibi{slopes}, relpos::causal{});
  expect_computed("t5, temperature", relpos::t5_bias{t5_table, relpos::bidirectional},
                  relpos::temperature{0.9});
  const relpos::rotary_table rope(relpos::rope_frequencies(channels),
                                  relpos::pair_layout::half_split);
  expect_computed("rotary, causal", relpos::rotary{rope}, relpos::causal{});
  const relpos::additive_bias bias(view<const float, 4>(matrix, {1, 1, queries, keys}));
  const relpos::relative_bias rate([](index_t head, index_t distance) {
    return -0.01 * static_cast<double>(head * (distance < 0 ? -distance : distance));
  });
  expect_computed("matrix, function, band", bias, rate, relpos::band{50, 3});
  expect_partials_merge();
  expect_refusals();
  return failed ? 1 : 0;
}
