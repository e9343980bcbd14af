// The relpos nodes of a graph against ggml's own nodes, and the places where ggml's own differ.

#include "relpos_attention.hpp"

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "ggml_attention.hpp"
#include "graph.hpp"
#include "tests/no_exceptions/allocations.hpp"

namespace {

using node_maker = std::function<ggml_tensor*(const graph&, relpos_plan&, ggml_tensor*,
                                              ggml_tensor*, ggml_tensor*)>;

/// The same attention for ggml and for relpos.
struct encoding {
  std::string name;
  score_terms terms;
  node_maker relpos_node;
};

constexpr int heads = 6;  // no power of two: ALiBi has a rule of its own for those
constexpr int d = 64;

const std::vector<float> slopes = relpos::alibi_slopes(heads);
const std::vector<float> sink_values{-1.0f, 0.0f, 1.5f, 3.0f, hidden, 0.5f};

std::vector<float> t5_table() {
  std::vector<float> table;  // [bucket, head]
  for (int i = 0; i < 32 * heads; ++i) {
    table.push_back(static_cast<float>(std::sin(1.7 * i)));
  }
  return table;
}
const std::vector<float> table = t5_table();

template <class... Arguments>
node_maker node_of(const Arguments&... arguments) {
  return [arguments...](const graph& owner, relpos_plan& plan, ggml_tensor* q, ggml_tensor* k,
                        ggml_tensor* v) {
    return relpos_attention(owner.context(), plan, q, k, v, arguments...);
  };
}

std::vector<encoding> make_encodings() {
  using namespace relpos;
  std::vector<encoding> all;
  all.push_back({"none", {}, node_of(causal{})});
  all.push_back({"alibi", {.max_bias = 8.0f}, node_of(alibi{slopes}, causal{})});
  const auto bias = [](int head, int distance) {
    return table[static_cast<std::size_t>(t5_bucket_of_past(distance) * heads + head)];
  };
  all.push_back({"t5",
                 {.bias = bias},
                 node_of(t5_bias{table, unidirectional}, causal{}, options{.scale = 0.125f})});
  all.push_back({"sinks", {.sinks = sink_values}, node_of(sink_logits{sink_values}, causal{})});
  const auto in_window = [](int q_pos, int k_pos) { return k_pos <= q_pos && q_pos - k_pos < 50; };
  all.push_back({"window", {.visible = in_window}, node_of(sliding_window{50})});
  all.push_back({"softcap",
                 {.scale = 0.5f, .softcap = 5.0f},
                 node_of(causal{}, options{.scale = 0.5f, .softcap = 5.0f})});
  return all;
}
const std::vector<encoding> encodings = make_encodings();
const encoding& alibi_encoding = encodings[1];

const std::vector<ggml_type> kv_types{GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};

/// ggml's attention without flash attention, in float32: k and v become float32, which rounds
/// nothing.
ggml_tensor* expected_attention(const graph& owner, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v,
                                const score_terms& terms) {
  const auto wide = [&](ggml_tensor* x) { return ggml_cast(owner.context(), x, GGML_TYPE_F32); };
  return soft_max_attention(owner, q, wide(k), columns_of(owner, wide(v)), terms);
}

struct inputs {
  graph owner;
  ggml_tensor *q, *k, *v;

  /// d_v is not d; three query heads share a key head.
  inputs(ggml_type type, int n, int n_kv, int batch = 1)
      : q(owner.normal(GGML_TYPE_F32, {d, n, heads, batch}, 1)),
        k(owner.normal(type, {d, n_kv, heads / 3, batch}, 2)),
        v(owner.normal(type, {d + 16, n_kv, heads / 3, batch}, 3)) {}
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size() || a.empty()) return std::numeric_limits<double>::infinity();
  double largest = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, difference);
  }
  return largest;
}

std::vector<float> relpos_numbers(const inputs& in, const encoding& each, int threads = 2) {
  relpos_plan plan(threads);
  const auto result = in.owner.compute(each.relpos_node(in.owner, plan, in.q, in.k, in.v), threads);
  EXPECT_TRUE(plan.status()) << plan.status().message;
  return result;
}

/// ggml's own flash attention rounds queries to the type of 16-bit keys, and sums 16-bit values in
/// 16 bits, except for blocks of queries over float16.
double flash_tolerance(ggml_type type, int n) {
  if (type == GGML_TYPE_F32 || (type == GGML_TYPE_F16 && n >= 64)) return 2e-5;
  return type == GGML_TYPE_F16 ? 4e-3 : 4e-2;
}

void compare(int n, int n_kv, int batch) {
  for (const ggml_type type : kv_types) {
    for (const encoding& each : encodings) {
      SCOPED_TRACE(each.name + " " + ggml_type_name(type));
      const inputs in(type, n, n_kv, batch);
      const auto result = relpos_numbers(in, each);
      const auto expected =
          in.owner.compute(expected_attention(in.owner, in.q, in.k, in.v, each.terms));
      EXPECT_LT(largest_difference(result, expected), 1e-5);
      const auto flash = in.owner.compute(flash_attention(in.owner, in.q, in.k, in.v, each.terms));
      // The bias of T5 is rounded to float16, which ggml's own flash attention would show.
      const double allowed = flash_tolerance(type, n) + (each.terms.bias ? 1e-3 : 0.0);
      EXPECT_LT(largest_difference(result, flash), allowed);
    }
  }
}

TEST(relpos_attention, equals_ggml_in_prefill) { compare(100, 100, 2); }
TEST(relpos_attention, equals_ggml_in_prefill_behind_a_cache) { compare(70, 317, 1); }
TEST(relpos_attention, equals_ggml_in_decode) { compare(1, 700, 1); }
TEST(relpos_attention, equals_ggml_in_decode_of_a_batch) { compare(2, 301, 3); }

TEST(relpos_attention, has_the_same_bits_on_any_number_of_threads) {
  for (const int n : {1, 130}) {
    const inputs in(GGML_TYPE_F16, n, 1500);
    for (const encoding& each : encodings) {
      SCOPED_TRACE(each.name);
      const auto alone = relpos_numbers(in, each, 1);
      for (const int threads : {2, 3, 5}) EXPECT_EQ(relpos_numbers(in, each, threads), alone);
    }
  }
}

TEST(relpos_attention, is_computed_by_no_more_threads_than_planned) {
  const inputs in(GGML_TYPE_F32, 40, 90);
  relpos_plan plan(2);
  ggml_tensor* const out = alibi_encoding.relpos_node(in.owner, plan, in.q, in.k, in.v);
  EXPECT_EQ(in.owner.compute(out, 4), relpos_numbers(in, alibi_encoding, 1));
  EXPECT_TRUE(plan.status()) << plan.status().message;
}

// As llama.cpp keeps a layer: q from a product, [d, heads, n]; keys in rows of a longer cache;
// values transposed, so that channels are far apart.
TEST(relpos_attention, reads_any_strides) {
  constexpr int n = 40, n_kv = 290, n_ctx = 512, key_heads = 2;
  for (const ggml_type type : kv_types) {
    SCOPED_TRACE(ggml_type_name(type));
    const graph owner;
    ggml_context* const ctx = owner.context();
    ggml_tensor* const product = owner.normal(GGML_TYPE_F32, {d, heads, n, 1}, 1);
    ggml_tensor* const q = ggml_permute(ctx, product, 0, 2, 1, 3);
    ggml_tensor* const k_cache = owner.normal(type, {d * key_heads, n_ctx, 1, 1}, 2);
    ggml_tensor* const v_cache = owner.normal(type, {n_ctx, d * key_heads, 1, 1}, 3);
    const std::size_t size = ggml_type_size(type);
    ggml_tensor* const k = ggml_view_4d(ctx, k_cache, d, n_kv, key_heads, 1, size * d * key_heads,
                                        size * d, k_cache->nb[2], 5 * k_cache->nb[1]);
    ggml_tensor* const v_rows = ggml_view_4d(ctx, v_cache, n_kv, d, key_heads, 1, v_cache->nb[1],
                                             v_cache->nb[1] * d, v_cache->nb[2], 7 * size);
    ggml_tensor* const v = ggml_permute(ctx, v_rows, 1, 0, 2, 3);
    for (const encoding& each : encodings) {
      SCOPED_TRACE(each.name);
      relpos_plan plan(2);
      const auto result = owner.compute(each.relpos_node(owner, plan, q, k, v));
      EXPECT_TRUE(plan.status()) << plan.status().message;
      // ggml_cast needs values in rows.
      const auto contiguous = [&](ggml_tensor* x) { return ggml_cont(ctx, x); };
      const auto expected = owner.compute(
          expected_attention(owner, contiguous(q), contiguous(k), contiguous(v), each.terms));
      EXPECT_LT(largest_difference(result, expected), 1e-5);
    }
  }
}

// The graph of a decode step is built once for the whole cache, whose rows fill up later.
TEST(relpos_attention, follows_the_position_of_a_graph_that_is_computed_again) {
  constexpr int n_ctx = 256;
  const inputs in(GGML_TYPE_F16, 1, n_ctx);
  std::vector<std::int32_t> past{0};
  relpos_plan plan(2);
  ggml_tensor* const out =
      relpos_attention(in.owner.context(), plan, in.q, in.k, in.v, relpos::alibi{slopes},
                       relpos::causal{}, relpos::options{.query_offsets = past});
  graph::plan computation(in.owner, out, 2);
  for (const int position : {100, 101, 255}) {
    past[0] = position;
    ASSERT_TRUE(computation.compute());
    EXPECT_TRUE(plan.status()) << plan.status().message;
    const auto rows = [&](ggml_tensor* x) {
      return ggml_view_4d(in.owner.context(), x, x->ne[0], position + 1, x->ne[2], 1, x->nb[1],
                          x->nb[2], x->nb[3], 0);
    };
    const auto expected = in.owner.compute(
        expected_attention(in.owner, in.q, ggml_cont(in.owner.context(), rows(in.k)),
                           ggml_cont(in.owner.context(), rows(in.v)), alibi_encoding.terms));
    EXPECT_LT(largest_difference(computation.numbers(), expected), 1e-5);
  }
}

// Positions of a batch that come apart after the graph is built: tables grow with their distance.
TEST(relpos_attention, follows_positions_of_a_batch_that_come_apart) {
  constexpr int n_ctx = 64;
  const inputs in(GGML_TYPE_F32, 1, n_ctx, 2);
  const relpos::rotary_table rotations(relpos::rope_frequencies(d),
                                       relpos::pair_layout::half_split);
  const relpos::rotary rope(rotations);
  const relpos::t5_bias t5(table, relpos::unidirectional);
  const std::vector<std::vector<std::int32_t>> all_positions = {{0, 0}, {0, 63}, {63, 1 << 30}};
  std::vector<std::int32_t> past{0, 0};
  const auto expect_same = [&](const auto& policy) {
    relpos_plan plan(2);
    graph::plan computation(
        in.owner,
        relpos_attention(in.owner.context(), plan, in.q, in.k, in.v, policy, relpos::causal{},
                         relpos::options{.query_offsets = past}),
        2);
    for (const auto& positions : all_positions) {
      std::copy(positions.begin(), positions.end(), past.begin());
      ASSERT_TRUE(computation.compute());
      EXPECT_TRUE(plan.status()) << plan.status().message;
      relpos_plan planned_now(2);
      const auto expected = in.owner.compute(
          relpos_attention(in.owner.context(), planned_now, in.q, in.k, in.v, policy,
                           relpos::causal{}, relpos::options{.query_offsets = past}));
      EXPECT_TRUE(planned_now.status()) << planned_now.status().message;
      EXPECT_EQ(computation.numbers(), expected);
    }
    std::fill(past.begin(), past.end(), 0);
  };
  expect_same(rope);
  expect_same(t5);
}

// Tensors without memory when the graph is built, and two layers that share a plan.
TEST(relpos_attention, is_built_before_memory_is_allocated) {
  const inputs in(GGML_TYPE_F16, 30, 80);
  const std::unique_ptr<ggml_context, decltype(&ggml_free)> context(
      ggml_init({1 << 20, nullptr, true}), &ggml_free);
  ggml_context* const ctx = context.get();
  const auto placed = [&](const ggml_tensor* x) {
    ggml_tensor* const result = ggml_new_tensor(ctx, x->type, 4, x->ne);
    ggml_set_input(result);
    return result;
  };
  ggml_tensor *const q = placed(in.q), *const k = placed(in.k);
  relpos_plan plan(2);
  ggml_tensor* const first =
      relpos_attention(ctx, plan, q, k, k, relpos::alibi{slopes}, relpos::causal{});
  ggml_tensor* const again = ggml_permute(ctx, first, 0, 2, 1, 3);
  ggml_tensor* const out =
      relpos_attention(ctx, plan, again, k, k, relpos::alibi{slopes}, relpos::causal{});
  ggml_set_output(out);
  ggml_cgraph* const nodes = ggml_new_graph(ctx);
  ggml_build_forward_expand(nodes, out);
  EXPECT_GT(plan.workspace_bytes(), 0u);

  ggml_backend_t const backend = ggml_backend_cpu_init();
  ggml_backend_cpu_set_n_threads(backend, 2);
  ggml_gallocr_t const memory = ggml_gallocr_new(ggml_backend_get_default_buffer_type(backend));
  ASSERT_TRUE(ggml_gallocr_alloc_graph(memory, nodes));
  ggml_backend_tensor_set(q, in.q->data, 0, ggml_nbytes(q));
  ggml_backend_tensor_set(k, in.k->data, 0, ggml_nbytes(k));
  ASSERT_EQ(ggml_backend_graph_compute(backend, nodes), GGML_STATUS_SUCCESS);
  EXPECT_TRUE(plan.status()) << plan.status().message;
  std::vector<float> result(static_cast<std::size_t>(ggml_nelements(out)));
  ggml_backend_tensor_get(out, result.data(), 0, ggml_nbytes(out));

  ggml_tensor* const expected_first =
      expected_attention(in.owner, in.q, in.k, in.k, alibi_encoding.terms);
  ggml_tensor* const expected_again =
      ggml_cont(in.owner.context(), ggml_permute(in.owner.context(), expected_first, 0, 2, 1, 3));
  const auto expected = in.owner.compute(
      expected_attention(in.owner, expected_again, in.k, in.k, alibi_encoding.terms));
  EXPECT_LT(largest_difference(result, expected), 1e-5);
  ggml_gallocr_free(memory);
  ggml_backend_free(backend);
}

// ggml itself allocates where it starts its threads: as often for its own node.
TEST(relpos_attention, allocates_nothing_when_it_is_computed) {
  const auto allocations_of = [](const inputs& in, ggml_tensor* out) {
    graph::plan computation(in.owner, out, 2);
    EXPECT_TRUE(computation.compute());  // which makes the threads
    const long before = allocations();
    EXPECT_TRUE(computation.compute());
    return allocations() - before;
  };
  for (const int n : {1, 100}) {
    const inputs in(GGML_TYPE_F16, n, 600);
    for (const encoding& each : encodings) {
      SCOPED_TRACE(each.name);
      relpos_plan plan(2);
      EXPECT_EQ(allocations_of(in, each.relpos_node(in.owner, plan, in.q, in.k, in.v)),
                allocations_of(in, flash_attention(in.owner, in.q, in.k, in.v, each.terms)));
    }
  }
}

// A refusal.

template <class... Arguments>
void expect_refusal(const std::string& message, ggml_tensor* q, ggml_tensor* k, ggml_tensor* v,
                    const graph& owner, const Arguments&... arguments) {
  SCOPED_TRACE(message);
  relpos_plan plan(3);
  const auto result =
      owner.compute(relpos_attention(owner.context(), plan, q, k, v, arguments...), 3);
  EXPECT_FALSE(plan.status());
  EXPECT_NE(std::string(plan.status().message).find(message), std::string::npos)
      << plan.status().message;
  EXPECT_TRUE(std::all_of(result.begin(), result.end(), [](float x) { return std::isnan(x); }));
  plan.reset();
  EXPECT_TRUE(plan.status());
}

TEST(relpos_attention, tells_the_user_why_a_call_is_refused) {
  const graph owner;
  const auto normal = [&](ggml_type type, const graph::extents& ne) {
    return owner.normal(type, ne, 1);
  };
  using relpos::causal;
  ggml_tensor* const q = normal(GGML_TYPE_F32, {d, 9, heads, 1});
  ggml_tensor* const k = normal(GGML_TYPE_F32, {d, 40, 2, 1});
  ggml_tensor* const half = normal(GGML_TYPE_F16, {d, 40, 2, 1});
  expect_refusal("k: head_dim differs, k is [1, 2, 40, 32], q is [1, 6, 9, 64]", q,
                 normal(GGML_TYPE_F32, {32, 40, 2, 1}), k, owner, causal{});
  expect_refusal("multiple of key heads", q, normal(GGML_TYPE_F32, {d, 40, 4, 1}),
                 normal(GGML_TYPE_F32, {d, 40, 4, 1}), owner, causal{});
  expect_refusal("q: type is f16, must be f32", normal(GGML_TYPE_F16, {d, 9, heads, 1}), k, k,
                 owner, causal{});
  ggml_tensor* const quantised = normal(GGML_TYPE_Q8_0, {d, 40, 2, 1});
  expect_refusal("k, v: types are q8_0, q8_0", q, quantised, quantised, owner, causal{});
  expect_refusal("k, v: types are f32, f16", q, k, half, owner, causal{});
  expect_refusal("5 slopes for a query of 6 heads", q, k, k, owner,
                 relpos::alibi{std::span(slopes).first(5)}, causal{});
  expect_refusal("options.scale: is inf", q, k, k, owner, causal{},
                 relpos::options{.scale = std::numeric_limits<float>::infinity()});
  ggml_tensor* const between =
      ggml_view_4d(owner.context(), k, d, 20, 2, 1, k->nb[1] + 2, k->nb[2], k->nb[3], 0);
  expect_refusal("k: nb[1] is 258 bytes, must be a multiple of 4", q, between, between, owner,
                 causal{});
}

TEST(relpos_plan, keeps_the_first_refusal_and_computes_the_other_nodes) {
  const inputs in(GGML_TYPE_F32, 30, 40);
  relpos_plan plan(2);
  ggml_context* const ctx = in.owner.context();
  // The first node needs the largest workspace; others share it.
  ggml_tensor* const fits = alibi_encoding.relpos_node(in.owner, plan, in.q, in.k, in.v);
  const std::span<const float> few = std::span(slopes).first(3);
  ggml_tensor* const first = relpos_attention(ctx, plan, in.q, in.k, in.v, relpos::alibi{few});
  ggml_tensor* const second =
      relpos_attention(ctx, plan, in.q, in.k, in.v, relpos::sliding_window{0});
  in.owner.compute(ggml_add(ctx, ggml_add(ctx, first, second), fits));
  EXPECT_NE(std::string(plan.status().message).find("3 slopes"), std::string::npos)
      << plan.status().message;
  const auto* const numbers = static_cast<const float*>(fits->data);
  EXPECT_EQ(std::vector<float>(numbers, numbers + ggml_nelements(fits)),
            relpos_numbers(in, alibi_encoding));
}

// Where ggml's own attention differs, in ggml 0.25.3. A query of one head sees all keys.

struct one_query {
  graph owner;
  ggml_tensor *q, *k, *v;

  /// Scores are those given. The value of a key is a row of the same number.
  one_query(ggml_type type, const std::vector<float>& scores, const std::vector<float>& values)
      : q(owner.tensor(GGML_TYPE_F32, {channels, 1, 1, 1}, row_of(1.0f))),
        k(owner.tensor(type, rows_of(scores), in_rows(scores, 1.0f / channels))),
        v(owner.tensor(type, rows_of(values), in_rows(values, 1.0f))) {}

  float flash(const score_terms& terms, int threads = 1) const {
    return owner.compute(flash_attention(owner, q, k, v, terms), threads)[0];
  }
  float soft_max(const score_terms& terms) const {
    return owner.compute(expected_attention(owner, q, k, v, terms))[0];
  }
  template <class... Arguments>
  float relpos_node(const Arguments&... arguments) const {
    relpos_plan plan(2);
    const auto out = owner.compute(relpos_attention(owner.context(), plan, q, k, v, arguments...,
                                                    relpos::options{.scale = 1.0f}));
    EXPECT_TRUE(plan.status()) << plan.status().message;
    return out[0];
  }

 private:
  static constexpr int channels = 32;

  static std::vector<float> row_of(float number) { return std::vector<float>(channels, number); }
  static graph::extents rows_of(const std::vector<float>& numbers) {
    return {channels, static_cast<std::int64_t>(numbers.size()), 1, 1};
  }
  static std::vector<float> in_rows(const std::vector<float>& numbers, float factor) {
    std::vector<float> result;
    for (const float each : numbers) result.insert(result.end(), channels, factor * each);
    return result;
  }
};

/// As many zeros as keys, and one number for the key at a distance from the query, the last row.
std::vector<float> zeros_and(std::size_t n_kv, std::vector<std::pair<std::size_t, float>> others) {
  std::vector<float> result(n_kv, 0.0f);
  for (const auto& [distance, number] : others) result[n_kv - 1 - distance] = number;
  return result;
}

// Two keys have the same score, far above all others, at the distances 4001 and 4003.
TEST(ggml_flash, rounds_distances_beyond_2048_of_alibi) {
  const float slope = 0.125f;
  const std::vector<float> one_slope{slope};
  const one_query in(GGML_TYPE_F32, zeros_and(4100, {{4001, 640.0f}, {4003, 640.0f}}),
                     zeros_and(4100, {{4001, 1.0f}}));
  const score_terms terms{.scale = 1.0f, .max_bias = 3.0f};  // one head: slope 2^-3
  const auto share = [](float difference) { return 1.0f / (1.0f + std::exp(-difference)); };
  EXPECT_NEAR(in.relpos_node(relpos::alibi{one_slope}), share(2 * slope), 1e-4f);
  EXPECT_NEAR(in.soft_max(terms), share(2 * slope), 1e-4f);
  EXPECT_NEAR(in.flash(terms), share(4 * slope), 1e-4f);  // 4000 and 4004
}

TEST(ggml_flash, hides_keys_beyond_a_distance_of_65519_of_alibi) {
  const std::vector<float> one_slope{0.00390625f};
  const score_terms terms{.scale = 1.0f, .max_bias = 8.0f};
  const auto flash_and_relpos = [&](std::size_t distance) {
    const one_query in(GGML_TYPE_F32, zeros_and(66000, {{distance, 500.0f}}),
                       zeros_and(66000, {{distance, 1.0f}}));
    return std::pair(in.flash(terms), in.relpos_node(relpos::alibi{one_slope}));
  };
  EXPECT_EQ(flash_and_relpos(65519), std::pair(1.0f, 1.0f));
  EXPECT_EQ(flash_and_relpos(65520), std::pair(0.0f, 1.0f));
}

// There is no other way to give flash_attn_ext a bias per head than a mask per head, in float16.
TEST(ggml_flash, rounds_the_bias_of_t5) {
  const std::vector<float> biases = [] {
    std::vector<float> result(32, 10.0f);
    result[5] = 10.0039f;  // float16 has 10.0 and 10.0078
    result[6] = 10.0040f;
    return result;
  }();
  const one_query in(GGML_TYPE_F32, zeros_and(7, {}), zeros_and(7, {{5, 1.0f}, {6, -1.0f}}));
  const auto bias = [&](int, int distance) {
    return biases[static_cast<std::size_t>(t5_bucket_of_past(distance))];
  };
  const score_terms terms{.scale = 1.0f, .bias = bias};
  const float result =
      in.relpos_node(relpos::t5_bias{biases, relpos::unidirectional}, relpos::causal{});
  EXPECT_NEAR(result, -0.0001f / 7.0f, 1e-6f);
  EXPECT_NEAR(in.soft_max(terms), result, 1e-6f);
  EXPECT_NEAR(in.flash(terms), -0.0078f / 7.0f, 1e-5f);
}

// One query, float16 values, equal scores: 1 is added to a sum of float16, which stays at 2048.
TEST(ggml_flash, sums_float16_values_in_float16_in_decode) {
  const one_query in(GGML_TYPE_F16, zeros_and(8192, {}), std::vector<float>(8192, 1.0f));
  EXPECT_EQ(in.relpos_node(), 1.0f);
  EXPECT_EQ(in.soft_max({}), 1.0f);
  EXPECT_EQ(in.flash({}, 1), 0.25f);
  EXPECT_EQ(in.flash({}, 2), 0.5f);  // each thread sums half of the keys
}

}  // namespace
