// Decoding one token against caches of 8 key heads, on one thread.
//
// The first section reports the time of reading all keys and values, by the faster of two loops,
// over the time of the call. The second section reports ratios of two calls, as its title says.

#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "aligned_array.hpp"
#include "candidate.hpp"
#include "interleaved.hpp"
#include "read_bandwidth.hpp"
#include "sections.hpp"

namespace relpos::bench {
namespace {

constexpr index_t key_heads = 8;

/// A sequence in a cache, and one query per head.
template <class Stored, class Cache>
struct decoding {
  static constexpr bool scaled = storage_traits<Stored>::is_scaled;

  decoding(index_t group, index_t length, index_t head_dim, index_t page_rows, const Cache&)
      : lengths{length} {
    const index_t heads = group * key_heads;
    const index_t rows = page_rows == 0 ? length : page_rows;
    const index_t slabs = length / rows;
    constexpr index_t channels = channels_of_element<Stored>;
    const std::array<index_t, 4> shape{slabs, key_heads, rows, head_dim / channels};
    const auto count = static_cast<std::size_t>(key_heads * length * head_dim / channels);
    std::minstd_rand random(7);
    const auto fill = [&](auto& of, std::size_t size, float spread) {
      of.resize(size);
      const auto number = [&] { return static_cast<float>(random() % 2001) / 1000.0f - 1.0f; };
      for (auto& x : of) {
        using element = std::remove_reference_t<decltype(x)>;
        if constexpr (grouped_storage<element>) {
          float numbers[channels_of_element<element>];
          for (float& each : numbers) each = number();
          x = quantised_group<element>(numbers);
        } else {
          x = static_cast<element>(number() * spread);
        }
      }
    };
    const float spread = scaled ? 127.0f : 1.0f;
    fill(keys, count, spread);
    fill(values, count, spread);
    fill(q_data, static_cast<std::size_t>(heads * head_dim), 1.0f);
    out_data.resize(q_data.size());
    memory = {view<Stored, 4>(keys.data(), shape), view<Stored, 4>(values.data(), shape)};
    if constexpr (scaled) {
      scales.assign(static_cast<std::size_t>(key_heads * length), 1.0f / 127.0f);
      memory.key_scales = view<float, 3>(scales.data(), {slabs, key_heads, rows});
      memory.value_scales = memory.key_scales;
    }
    // Pages in a scattered order.
    for (index_t page = 0; page < slabs; ++page) {
      table.push_back(static_cast<std::int32_t>(page * 7919 % slabs));
    }
    q = view<const float, 4>(q_data.data(), {1, heads, 1, head_dim});
    out = view<float, 4>(out_data.data(), {1, heads, 1, head_dim});
  }

  Cache cache() {
    if constexpr (requires { Cache{}.placement.block_table; }) {
      return {memory, lengths, {view<std::int32_t, 2>(table.data(), {1, memory.keys.shape[0]})}};
    } else {
      return {memory, lengths};
    }
  }

  /// Compares the output with float64, over the rows of all heads as the cache reads them.
  template <class... Policies>
  void verify(const char* what, const Policies&... policies) {
    const index_t length = lengths[0];
    const index_t head_dim = q.shape[3];
    const Cache of = cache();
    std::vector<float> k(static_cast<std::size_t>(key_heads * length * head_dim));
    std::vector<float> v(k.size());
    for (index_t head = 0; head < key_heads; ++head) {
      const auto key_rows = of.template keys<native>(0, head);
      const auto value_rows = of.template values<native>(0, head);
      for (index_t row = 0; row < length; ++row) {
        key_rows.load(row, k.data() + (head * length + row) * head_dim);
        value_rows.load(row, v.data() + (head * length + row) * head_dim);
      }
    }
    const std::array<index_t, 4> shape{1, key_heads, length, head_dim};
    check_error(what, largest_error(out, q, view<const float, 4>(k.data(), shape),
                                    view<const float, 4>(v.data(), shape), {}, policies...));
  }

  aligned_array<Stored> keys, values;
  std::vector<float> q_data, out_data, scales;
  std::vector<index_t> lengths;
  std::vector<std::int32_t> table;
  cache_memory<Stored> memory;
  view<const float, 4> q;
  view<float, 4> out;
};

/// One decoding step, verified. It owns the data that it reads.
struct step {
  std::function<void()> run;
  std::function<void()> read;        // reads all keys and values, without prefetch instructions
  std::function<void()> read_ahead;  // the same, with prefetch instructions
};

template <class Stored, template <class> class Cache = contiguous_cache, class... Policies>
step make_step(const char* what, index_t group, index_t length, index_t head_dim, index_t page_rows,
               const Policies&... policies) {
  using cache_type = Cache<Stored>;
  const auto of = std::make_shared<decoding<Stored, cache_type>>(group, length, head_dim, page_rows,
                                                                 cache_type{});
  const auto memory = std::make_shared<std::vector<std::byte>>(
      workspace_bytes(serial(), of->q, of->cache(), policies...));
  step result;
  result.run = [of, memory, policies...] {
    const status done = attention(serial(), *memory, of->out, of->q, of->cache(), policies...);
    if (!done) fail(done.message);
  };
  const auto reader = [of](std::size_t ahead) {
    return [of, ahead] {
      const std::size_t bytes = of->keys.size() * sizeof(Stored);
      volatile float keep = read_all<native>(of->keys.data(), bytes, ahead);
      keep = read_all<native>(of->values.data(), bytes, ahead);
      (void)keep;
    };
  };
  result.read = reader(0);
  result.read_ahead = reader(4096);
  result.run();
  of->verify(what, policies...);
  return result;
}

}  // namespace

void serving_caches(const effort& how, report& to) {
  const std::vector<float> slopes = alibi_slopes(8 * key_heads);
  std::vector<float> few_slopes = alibi_slopes(key_heads);
  std::vector<float> table(32 * key_heads);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i % 7) * 0.3f;
  const alibi line{few_slopes};
  const t5_bias buckets{table, bidirectional};
  const causal mask;
  const int turns = how.turns;
  const auto add = [&](const char* cache, const char* encoding, index_t head_dim, index_t length,
                       double ratio) {
    to.add({.head_dim = head_dim,
            .length = length,
            .encoding = encoding,
            .setting = cache,
            .ratio = ratio});
  };

  to.begin("decode: time to read keys and values over time of the call", "cache");
  for (const index_t head_dim : {64, 128}) {
    for (const index_t length : {4096, 32768}) {
      const auto measure = [&](const char* encoding, const auto&... policies) {
        const step of = make_step<float>(encoding, 1, length, head_dim, 0, policies...);
        const int repeated = length < 8192 ? 5 * turns : turns;
        const auto seconds =
            interleaved_seconds({of.run, of.read, of.run, of.read_ahead}, repeated);
        add("float32", encoding, head_dim, length,
            std::min(seconds[1], seconds[3]) / std::min(seconds[0], seconds[2]));
      };
      measure("alibi", line, mask);
      measure("t5", buckets);
    }
  }

  constexpr index_t length = 32768;
  to.begin("decode of 32768 keys: time over a contiguous cache of float32", "cache");
  for (const index_t head_dim : {64, 128}) {
    const step plain = make_step<float>("float", 1, length, head_dim, 0, line, mask);
    const auto compare = [&](const char* cache, const step& of) {
      const auto seconds = interleaved_seconds({plain.run, of.run}, turns);
      add(cache, "alibi", head_dim, length, seconds[1] / seconds[0]);
    };
    compare("bfloat16", make_step<bfloat16>("bfloat16", 1, length, head_dim, 0, line, mask));
    compare("half", make_step<half>("half", 1, length, head_dim, 0, line, mask));
    compare("int8", make_step<int8>("int8", 1, length, head_dim, 0, line, mask));
    compare("float8_e4m3", make_step<float8_e4m3>("e4m3", 1, length, head_dim, 0, line, mask));
    compare("float8_e5m2", make_step<float8_e5m2>("e5m2", 1, length, head_dim, 0, line, mask));
    compare("int4_group<32>", make_step<int4_group<32>>("q4", 1, length, head_dim, 0, line, mask));
    compare("int4_group<64>", make_step<int4_group<64>>("q4", 1, length, head_dim, 0, line, mask));
    compare("8 heads per key head",
            make_step<float>("gqa", 8, length, head_dim, 0, alibi{slopes}, mask));
    compare("pages of 16 keys",
            make_step<float, paged_cache>("page 16", 1, length, head_dim, 16, line, mask));
    compare("pages of 64 keys",
            make_step<float, paged_cache>("page 64", 1, length, head_dim, 64, line, mask));
  }
}

}  // namespace relpos::bench
