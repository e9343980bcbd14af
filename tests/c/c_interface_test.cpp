// The C interface from a C++17 program, against plain loops in float64.

#include <gtest/gtest.h>
#include <relpos_c.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

static_assert(__cplusplus < 202000L, "this program shows that C++17 is enough");

namespace {

constexpr int64_t batch = 2, heads = 4, key_heads = 2, queries = 37, keys = 70, d = 16, dv = 12;

std::vector<float> random_numbers(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> result(static_cast<std::size_t>(count));
  for (float& x : result) x = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  return result;
}

struct inputs {
  std::vector<float> q = random_numbers(batch * heads * queries * d, 1);
  std::vector<float> k = random_numbers(batch * key_heads * keys * d, 2);
  std::vector<float> v = random_numbers(batch * key_heads * keys * dv, 3);
  std::vector<float> out = std::vector<float>(batch * heads * queries * dv, -7.0f);

  relpos_call call() {
    relpos_call result = relpos_new_call(RELPOS_FLOAT32);
    result.q = relpos_dense(q.data(), batch, heads, queries, d);
    result.k = relpos_dense(k.data(), batch, key_heads, keys, d);
    result.v = relpos_dense(v.data(), batch, key_heads, keys, dv);
    result.out = relpos_dense(out.data(), batch, heads, queries, dv);
    return result;
  }
};

relpos_status attend(const relpos_call& call) {
  std::vector<unsigned char> workspace(relpos_workspace_bytes(&call, 1));
  return relpos_attention(&call, workspace.data(), workspace.size(), nullptr);
}

/// The meaning of a call, as functions of (head, query position, key position).
struct meaning {
  std::function<double(int64_t, int64_t, int64_t)> bias = [](auto...) { return 0.0; };
  std::function<bool(int64_t, int64_t)> sees = [](auto...) { return true; };
  double scale = 1.0 / std::sqrt(static_cast<double>(d));
  double temperature = 1.0;
  const float* sinks = nullptr;
};

/// The largest difference between `out` and the definition.
double error_of(const inputs& in, const meaning& of) {
  double largest = 0.0;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kh = h / (heads / key_heads);
      for (int64_t i = 0; i < queries; ++i) {
        const int64_t q_pos = keys - queries + i;
        std::vector<double> sum(dv);
        double total = of.sinks == nullptr ? 0.0 : std::exp(static_cast<double>(of.sinks[h]));
        for (int64_t j = 0; j < keys; ++j) {
          if (!of.sees(q_pos, j)) continue;
          double dot = 0.0;
          for (int64_t c = 0; c < d; ++c) {
            dot += static_cast<double>(
                       in.q[static_cast<std::size_t>(((b * heads + h) * queries + i) * d + c)]) *
                   static_cast<double>(
                       in.k[static_cast<std::size_t>(((b * key_heads + kh) * keys + j) * d + c)]);
          }
          const double weight = std::exp((dot * of.scale + of.bias(h, q_pos, j)) / of.temperature);
          total += weight;
          for (int64_t c = 0; c < dv; ++c) {
            sum[static_cast<std::size_t>(c)] +=
                weight *
                static_cast<double>(
                    in.v[static_cast<std::size_t>(((b * key_heads + kh) * keys + j) * dv + c)]);
          }
        }
        for (int64_t c = 0; c < dv; ++c) {
          const double expected = total == 0.0 ? 0.0 : sum[static_cast<std::size_t>(c)] / total;
          const double got = static_cast<double>(
              in.out[static_cast<std::size_t>(((b * heads + h) * queries + i) * dv + c)]);
          const double error = std::abs(got - expected);
          largest = std::max(largest, error == error ? error : 1e9);
        }
      }
    }
  }
  return largest;
}

constexpr double near = 2e-6;

TEST(c_interface, attention_without_encoding) {
  inputs in;
  const relpos_status done = attend(in.call());
  ASSERT_EQ(done.code, RELPOS_OK) << done.message;
  EXPECT_STREQ(done.message, "");
  EXPECT_LT(error_of(in, {}), near);
}

TEST(c_interface, masks) {
  struct rule {
    relpos_mask mask;
    std::function<bool(int64_t, int64_t)> sees;
  };
  const rule rules[] = {
      {{RELPOS_CAUSAL, 0, 0}, [](int64_t q, int64_t k) { return k <= q; }},
      {{RELPOS_SLIDING_WINDOW, 9, 0}, [](int64_t q, int64_t k) { return k <= q && q - k < 9; }},
      {{RELPOS_BAND, 5, 3}, [](int64_t q, int64_t k) { return q - k <= 5 && k - q <= 3; }},
      {{RELPOS_BLOCKWISE_CAUSAL, 8, 0},
       [](int64_t q, int64_t k) { return k <= q && k >= (q / 8 - 1) * 8; }},
      {{RELPOS_CHUNKED_CAUSAL, 8, 0},
       [](int64_t q, int64_t k) { return k <= q && k / 8 == q / 8; }},
  };
  for (const rule& each : rules) {
    inputs in;
    relpos_call call = in.call();
    call.mask = each.mask;
    ASSERT_EQ(attend(call).code, RELPOS_OK);
    meaning of;
    of.sees = each.sees;
    EXPECT_LT(error_of(in, of), near) << each.mask.kind;
  }
}

TEST(c_interface, alibi_with_temperature_and_sinks) {
  inputs in;
  std::vector<float> slopes(heads);
  relpos_alibi_slopes(slopes.data(), heads);
  EXPECT_EQ(slopes, (std::vector<float>{0.25f, 0.0625f, 0.015625f, 0.00390625f}));
  const float sinks[heads] = {0.5f, -1.0f, 2.0f, 0.0f};
  relpos_call call = in.call();
  call.bias.kind = RELPOS_ALIBI;
  call.bias.values = slopes.data();
  call.mask.kind = RELPOS_CAUSAL;
  call.temperature = 0.5f;
  call.sink_logits = sinks;
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  meaning of;
  of.bias = [&](int64_t h, int64_t q, int64_t k) {
    return static_cast<double>(slopes[static_cast<std::size_t>(h)]) * static_cast<double>(k - q);
  };
  of.sees = [](int64_t q, int64_t k) { return k <= q; };
  of.temperature = 0.5;
  of.sinks = sinks;
  EXPECT_LT(error_of(in, of), near);
}

TEST(c_interface, temperatures_of_heads) {
  inputs in;
  const float temperatures[heads] = {2.0f, 2.0f, 2.0f, 2.0f};
  relpos_call call = in.call();
  call.temperatures = temperatures;
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  meaning of;
  of.temperature = 2.0;
  EXPECT_LT(error_of(in, of), near);
}

/// T5's bucket of a distance, in float64, for the distances of these tests: they are below
/// max_distance and none is where rounding decides.
int64_t t5_bucket(int64_t distance, int64_t buckets, int64_t farthest) {
  const int64_t n = std::max<int64_t>(-distance, 0);
  const int64_t exact = buckets / 2;
  if (n < exact) return n;
  const double log = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                     std::log(static_cast<double>(farthest) / static_cast<double>(exact));
  return std::min(buckets - 1,
                  exact + static_cast<int64_t>(log * static_cast<double>(buckets - exact) + 1e-9));
}

TEST(c_interface, t5) {
  inputs in;
  const std::vector<float> table = random_numbers(32 * heads, 4);
  relpos_call call = in.call();
  call.bias.kind = RELPOS_T5;
  call.bias.values = table.data();
  call.mask.kind = RELPOS_CAUSAL;
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  meaning of;
  of.scale = 1.0;
  of.bias = [&](int64_t h, int64_t q, int64_t k) {
    return static_cast<double>(
        table[static_cast<std::size_t>(t5_bucket(k - q, 32, 128) * heads + h)]);
  };
  of.sees = [](int64_t q, int64_t k) { return k <= q; };
  EXPECT_LT(error_of(in, of), 2e-5);
}

TEST(c_interface, function_and_matrix) {
  const auto bias = [](int64_t h, int64_t distance) {
    return 0.1 * static_cast<double>(h) - 0.01 * static_cast<double>(distance * distance % 7);
  };
  meaning of;
  of.bias = [&](int64_t h, int64_t q, int64_t k) { return bias(h, k - q); };
  inputs in;
  relpos_call call = in.call();
  call.bias.kind = RELPOS_FUNCTION;
  call.bias.context = const_cast<void*>(static_cast<const void*>(&bias));
  call.bias.function = [](void* context, int64_t head, int64_t distance) {
    return (*static_cast<decltype(bias)*>(context))(head, distance);
  };
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  EXPECT_LT(error_of(in, of), near);

  std::vector<float> matrix(heads * queries * keys);
  for (int64_t i = 0; i < heads * queries * keys; ++i) {
    const int64_t q_pos = i / keys % queries + keys - queries;
    matrix[static_cast<std::size_t>(i)] =
        static_cast<float>(bias(i / keys / queries, i % keys - q_pos));
  }
  call = in.call();
  call.bias.kind = RELPOS_MATRIX;
  call.bias.matrix = relpos_dense(matrix.data(), 1, heads, queries, keys);
  std::fill(in.out.begin(), in.out.end(), -7.0f);
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  EXPECT_LT(error_of(in, of), near);
}

/// Rotates the rows of a [.., rows, d] tensor, whose first row is at a position.
std::vector<float> rotated(std::vector<float> rows, int64_t length, int64_t first) {
  for (std::size_t i = 0; i < rows.size(); i += d) {
    const auto position = static_cast<double>(first + static_cast<int64_t>(i / d) % length);
    for (std::size_t c = 0; c < d / 2; ++c) {
      const double angle = position * std::pow(10000.0, -2.0 * static_cast<double>(c) / d);
      const double x = static_cast<double>(rows[i + c]),
                   y = static_cast<double>(rows[i + c + d / 2]);
      rows[i + c] = static_cast<float>(x * std::cos(angle) - y * std::sin(angle));
      rows[i + c + d / 2] = static_cast<float>(x * std::sin(angle) + y * std::cos(angle));
    }
  }
  return rows;
}

struct rotation_owner {
  relpos_rotation* rotation = nullptr;

  rotation_owner() {
    const relpos_rotation_options options = relpos_new_rotation_options(RELPOS_ROPE, d);
    const relpos_status made = relpos_make_rotation(&options, &rotation);
    EXPECT_EQ(made.code, RELPOS_OK) << made.message;
  }
  rotation_owner(const rotation_owner&) = delete;
  ~rotation_owner() { relpos_free_rotation(rotation); }
};

TEST(c_interface, rope) {
  inputs in;
  const rotation_owner rope;
  relpos_call call = in.call();
  call.rotation = rope.rotation;
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  inputs plain = in;
  plain.q = rotated(in.q, queries, keys - queries);
  plain.k = rotated(in.k, keys, 0);
  EXPECT_LT(error_of(plain, {}), 5e-6);
}

TEST(c_interface, caches_of_every_type_and_placement) {
  const double tolerance[] = {5e-6, 2e-3, 1.5e-2, 2e-2, 6e-2};  // by relpos_type: rounding of rows
  const std::size_t bytes[] = {4, 2, 2, 1, 1};
  for (int type = RELPOS_FLOAT32; type <= RELPOS_FLOAT8_E4M3; ++type) {
    for (int placement = RELPOS_CONTIGUOUS; placement <= RELPOS_PAGED; ++placement) {
      SCOPED_TRACE(std::to_string(type) + " " + std::to_string(placement));
      inputs in;
      const rotation_owner rope;
      const bool paged = placement == RELPOS_PAGED;
      const int64_t slabs = paged ? 10 : batch, rows = paged ? 16 : 80;
      const auto size = static_cast<std::size_t>(slabs * key_heads * rows);
      std::vector<unsigned char> stored_keys(size * d * bytes[type]),
          stored_values(size * dv * bytes[type]);
      std::vector<float> key_scales(size), value_scales(size);
      std::vector<int64_t> lengths(batch), oldest(batch);
      std::vector<int32_t> pages{0, 2, 4, 6, 8, 1, 3, 5, 7, 9};
      relpos_cache cache = relpos_new_cache(static_cast<relpos_type>(type),
                                            static_cast<relpos_placement>(placement));
      cache.keys = relpos_dense(stored_keys.data(), slabs, key_heads, rows, d);
      cache.values = relpos_dense(stored_values.data(), slabs, key_heads, rows, dv);
      if (type >= RELPOS_INT8) {
        cache.key_scales = key_scales.data();
        cache.value_scales = value_scales.data();
      }
      cache.lengths = lengths.data();
      cache.sequences = batch;
      cache.oldest = oldest.data();
      cache.block_table = pages.data();
      cache.blocks = 5;
      relpos_tensor k = relpos_dense(in.k.data(), batch, key_heads, keys, d);
      relpos_tensor v = relpos_dense(in.v.data(), batch, key_heads, keys, dv);
      relpos_status done = relpos_append(&cache, &k, &v, rope.rotation, 0);
      ASSERT_EQ(done.code, RELPOS_OK) << done.message;
      EXPECT_EQ(lengths, std::vector<int64_t>(batch, keys));

      relpos_call call = relpos_new_call(RELPOS_FLOAT32);
      call.q = relpos_dense(in.q.data(), batch, heads, queries, d);
      call.out = relpos_dense(in.out.data(), batch, heads, queries, dv);
      call.cache = &cache;
      call.rotation = rope.rotation;
      call.mask.kind = RELPOS_CAUSAL;
      done = attend(call);
      ASSERT_EQ(done.code, RELPOS_OK) << done.message;
      inputs plain = in;
      plain.q = rotated(in.q, queries, keys - queries);
      plain.k = rotated(in.k, keys, 0);
      meaning of;
      of.sees = [](int64_t q, int64_t key) { return key <= q; };
      EXPECT_LT(error_of(plain, of), tolerance[type]);

      EXPECT_EQ(relpos_truncate(&cache, 1, 65).code, RELPOS_OK);
      EXPECT_EQ(lengths, (std::vector<int64_t>{keys, 65}));
      done = relpos_truncate(&cache, 1, 66);
      EXPECT_EQ(done.code, RELPOS_INVALID_VALUE);
      EXPECT_NE(std::string(done.message).find("65"), std::string::npos) << done.message;
    }
  }
}

TEST(c_interface, threads_share_a_call) {
  inputs in;
  relpos_call call = in.call();
  call.mask.kind = RELPOS_CAUSAL;
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  const std::vector<float> expected = in.out;
  std::fill(in.out.begin(), in.out.end(), -7.0f);

  struct barrier_state {
    std::mutex mutex;
    std::condition_variable changed;
    int arrived = 0;
    long round = 0;
  } state;
  constexpr int threads = 3;
  const auto wait = [](void* context) {
    auto& of = *static_cast<barrier_state*>(context);
    std::unique_lock lock(of.mutex);
    const long round = of.round;
    if (++of.arrived == threads) {
      of.arrived = 0;
      ++of.round;
      of.changed.notify_all();
    } else {
      of.changed.wait(lock, [&] { return of.round != round; });
    }
  };
  std::vector<unsigned char> workspace(relpos_workspace_bytes(&call, threads));
  std::vector<std::thread> team;
  for (int i = 0; i < threads; ++i) {
    team.emplace_back([&, i] {
      const relpos_team member{i, threads, wait, &state};
      EXPECT_EQ(relpos_attention(&call, workspace.data(), workspace.size(), &member).code,
                RELPOS_OK);
    });
  }
  for (std::thread& each : team) each.join();
  EXPECT_EQ(in.out, expected);
}

TEST(c_interface, outputs_of_rows) {
  inputs in;
  std::vector<float> lse(batch * heads * queries), largest = lse, entropy = lse;
  std::fill(in.q.begin(), in.q.end(), 0.0f);
  relpos_call call = in.call();
  call.lse = lse.data();
  call.max_probability = largest.data();
  call.entropy = entropy.data();
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  for (std::size_t i = 0; i < lse.size(); ++i) {
    ASSERT_NEAR(lse[i], std::log(70.0), 1e-5);
    ASSERT_NEAR(largest[i], 1.0 / 70.0, 1e-7);
    ASSERT_NEAR(entropy[i], std::log(70.0), 1e-4);
  }
}

/// A call that is refused, and writes nothing.
void expect_refused(inputs& in, const relpos_call& call, relpos_code code, const char* part) {
  std::vector<unsigned char> workspace(1 << 20);
  const std::vector<float> before = in.out;
  const relpos_status done = relpos_attention(&call, workspace.data(), workspace.size(), nullptr);
  EXPECT_EQ(done.code, code) << done.message;
  EXPECT_NE(std::string(done.message).find(part), std::string::npos) << done.message;
  EXPECT_EQ(relpos_workspace_bytes(&call, 1), 0u);
  EXPECT_EQ(in.out, before);
}

TEST(c_interface, refusals) {
  inputs in;
  const auto refuse = [&](relpos_code code, const char* part, auto&& change) {
    relpos_call call = in.call();
    change(call);
    expect_refused(in, call, code, part);
  };
  refuse(RELPOS_INVALID_SHAPE, "[2, 2, 70, 15]", [](auto& c) { c.k.shape[3] = 15; });
  refuse(RELPOS_NULL_DATA, "q", [](auto& c) { c.q.data = nullptr; });
  refuse(RELPOS_INVALID_VALUE, "call.type: is 4", [](auto& c) { c.type = RELPOS_FLOAT8_E4M3; });
  refuse(RELPOS_INVALID_VALUE, "call.mask.kind: is 9", [](auto& c) { c.mask.kind = 9; });
  refuse(RELPOS_INVALID_VALUE, "sliding_window: size is 0",
         [](auto& c) { c.mask.kind = RELPOS_SLIDING_WINDOW; });
  refuse(RELPOS_INVALID_VALUE, "call.bias.kind: is -1", [](auto& c) { c.bias.kind = -1; });
  refuse(RELPOS_NULL_DATA, "call.bias.values", [](auto& c) { c.bias.kind = RELPOS_ALIBI; });
  refuse(RELPOS_NULL_DATA, "table is null", [](auto& c) { c.bias.kind = RELPOS_T5; });
  refuse(RELPOS_NULL_DATA, "call.bias.function", [](auto& c) { c.bias.kind = RELPOS_FUNCTION; });
  refuse(RELPOS_INVALID_VALUE, "struct_size: is 0", [](auto& c) { c.struct_size = 0; });
  // A size that ends within a pointer.
  refuse(RELPOS_INVALID_VALUE, "struct_size: is ",
         [](auto& c) { c.struct_size = offsetof(relpos_call, cache) + 3; });
  // Not a size: nobody looks for members behind the struct.
  refuse(RELPOS_INVALID_VALUE, "struct_size: is 4607182418800017408",
         [](auto& c) { c.struct_size = 0x3ff0000000000000; });
  refuse(RELPOS_INVALID_VALUE, "call.sequences: is 9223372036854775807",
         [](auto& c) { c.sequences = std::numeric_limits<int64_t>::max(); });
  refuse(RELPOS_OVERLAP, "out", [](auto& c) { c.out.data = c.q.data; });
  refuse(RELPOS_INVALID_VALUE, "temperature", [](auto& c) { c.temperature = -1.0f; });
  EXPECT_EQ(relpos_attention(nullptr, nullptr, 0, nullptr).code, RELPOS_NULL_DATA);

  const relpos_call call = in.call();
  const relpos_status small = relpos_attention(&call, nullptr, 0, nullptr);
  EXPECT_EQ(small.code, RELPOS_WORKSPACE_TOO_SMALL) << small.message;
  relpos_rotation* rotation = nullptr;
  const relpos_rotation_options odd = relpos_new_rotation_options(RELPOS_ROPE, 15);
  EXPECT_EQ(relpos_make_rotation(&odd, &rotation).code, RELPOS_INVALID_VALUE);
  EXPECT_EQ(rotation, nullptr);
}

/// A caller that was compiled with an older or a newer header.
TEST(c_interface, structs_of_other_versions) {
  inputs in;
  relpos_call older = in.call();
  older.struct_size = offsetof(relpos_call, sequences);
  older.sequences = 99;  // behind the older struct: not read
  ASSERT_EQ(attend(older).code, RELPOS_OK);
  EXPECT_LT(error_of(in, {}), near);

  struct newer_call {
    relpos_call known;
    int64_t member;
  } newer{in.call(), 0};
  newer.known.struct_size = sizeof newer;
  ASSERT_EQ(attend(newer.known).code, RELPOS_OK);
  newer.member = 1;
  expect_refused(in, newer.known, RELPOS_INVALID_VALUE, "a member that is set behind");
}

TEST(c_interface, half_precision) {
  inputs in;
  std::vector<uint16_t> numbers(in.q.size() + in.k.size() + in.v.size() + in.out.size());
  std::vector<float> rounded;
  for (const auto* values : {&in.q, &in.k, &in.v}) {
    for (const float value : *values) {
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      numbers[rounded.size()] = static_cast<uint16_t>(bits >> 16);  // bfloat16, towards zero
      bits &= 0xffff0000u;
      float stored;
      std::memcpy(&stored, &bits, sizeof stored);
      rounded.push_back(stored);
    }
  }
  relpos_call call = in.call();
  call.type = RELPOS_BFLOAT16;
  call.q.data = numbers.data();
  call.k.data = numbers.data() + in.q.size();
  call.v.data = numbers.data() + in.q.size() + in.k.size();
  call.out.data = numbers.data() + rounded.size();
  ASSERT_EQ(attend(call).code, RELPOS_OK);
  inputs plain;
  std::copy_n(rounded.begin(), plain.q.size(), plain.q.begin());
  std::copy_n(rounded.begin() + static_cast<long>(plain.q.size()), plain.k.size(), plain.k.begin());
  std::copy_n(rounded.begin() + static_cast<long>(plain.q.size() + plain.k.size()), plain.v.size(),
              plain.v.begin());
  for (std::size_t i = 0; i < plain.out.size(); ++i) {
    const uint32_t bits = static_cast<uint32_t>(numbers[rounded.size() + i]) << 16;
    std::memcpy(&plain.out[i], &bits, sizeof bits);
  }
  EXPECT_LT(error_of(plain, {}), 0x1p-8);  // half a step of bfloat16 below 1, and its products
}

TEST(c_interface, says_what_it_is) {
  EXPECT_EQ(relpos_version(),
            10000 * RELPOS_VERSION_MAJOR + 100 * RELPOS_VERSION_MINOR + RELPOS_VERSION_PATCH);
  EXPECT_GT(std::strlen(relpos_instruction_set()), 0u);
}

}  // namespace
