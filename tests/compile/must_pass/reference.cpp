// The examples of the reference (./dev docs), between two lines with the same name.
#include <relpos/relpos.hpp>

#include <algorithm>
#include <array>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

using namespace relpos;

using Tensor = Eigen::Tensor<float, 4, Eigen::RowMajor>;  // [batch, head, position, channel]
using Rows = Eigen::Tensor<float, 3, Eigen::RowMajor>;
using Positions = Eigen::Tensor<index_t, 2, Eigen::RowMajor>;

constexpr int batch = 2, heads = 8, key_heads = 2, length = 256, head_dim = 64;

void encodings(const Tensor& q, const Tensor& k, const Tensor& v, std::vector<float>& r,
               const Tensor& matrix, const Tensor& tables, const std::vector<double>& log_gates) {
  Tensor out;
  {
    //! [alibi]
    const std::vector<float> slopes = alibi_slopes(heads);
    out = attention(q, k, v, alibi{slopes}, causal{});
    const alibi falcon{slopes, alibi_before_scale(head_dim)};
    //! [alibi]
    static_cast<void>(falcon);
  }
  {
    //! [alibi_encoder]
    const std::vector<float> slopes = alibi_slopes(heads);
    out = attention(q, k, v, alibi_symmetric{slopes});
    const alibi_two_sided left_and_right{slopes, slopes};
    const alibi_offset shifted{slopes};
    const alibi_one_sided half_of_the_heads_each{slopes};
    //! [alibi_encoder]
    static_cast<void>(left_and_right), static_cast<void>(shifted);
    static_cast<void>(half_of_the_heads_each);
  }
  {
    //! [t5_bias]
    Eigen::Tensor<float, 2, Eigen::RowMajor> table(32, heads);  // the model's embedding weight
    out = attention(q, k, v, t5_bias{table, bidirectional});
    const t5_bias wavlm{table, bidirectional, {.num_buckets = 320, .max_distance = 800}};
    //! [t5_bias]
    static_cast<void>(wavlm);
  }
  {
    //! [relative_bias]
    const auto kerple = [&r](index_t head, index_t distance) {
      const double away = std::abs(static_cast<double>(distance));
      return -static_cast<double>(r[static_cast<std::size_t>(head)]) * std::log1p(away);
    };
    out = attention(q, k, v, relative_bias{kerple}, causal{});
    //! [relative_bias]
    //! [gated_bias]
    Rows gates(batch, heads, length);  // computed by the model, one for each query
    const gated_bias gated{gates, relative_bias{kerple}};
    //! [gated_bias]
    static_cast<void>(gated);
  }
  {
    //! [additive_bias]
    // [1, heads, length, length]: one matrix for all entries of the batch
    out = attention(q, k, v, additive_bias{matrix});
    //! [additive_bias]
  }
  {
    //! [rotary]
    const rotary_table rope(rope_frequencies(head_dim), pair_layout::half_split);
    out = attention(q, k, v, rotary{rope}, causal{});

    const rotary_table xpos(xpos_frequencies(head_dim), pair_layout::interleaved);
    out = attention(q, k, v, rotary{xpos}, blockwise_causal{length / 2});
    //! [rotary]
  }
  {
    //! [mixed_bias]
    // Shaw's relative keys: embeddings [33, head_dim] of distances -16 to 16, clipped
    std::vector<float> embeddings(33 * head_dim);
    const view<const float, 3> terms(embeddings.data(), {1, head_dim, 33}, {0, 1, head_dim});
    const Tensor scaled_q = q * 0.125f;
    const mixed_bias shaw{scaled_q, terms, -16, table_ends::repeated};
    //! [mixed_bias]
    static_cast<void>(shaw);
  }
  {
    //! [row_tables]
    // tables [batch, heads, query, 2 * span]: products of rows with the embeddings of positions
    const int span = 64;
    std::vector<std::int32_t> buckets(2 * span);
    std::iota(buckets.begin(), buckets.end(), 0);
    const query_tables from_queries{tables, buckets, -span};
    //! [row_tables]
    static_cast<void>(from_queries);
  }
  {
    //! [cumulative_bias]
    std::vector<double> sums(length);  // of the logarithms of one head's forget gates
    std::partial_sum(log_gates.begin(), log_gates.end(), sums.begin());
    const view<const double, 3> of_positions(sums.data(), {1, 1, length});
    out = attention(q, k, v, cumulative_bias{of_positions}, causal{});
    //! [cumulative_bias]
  }
  {
    //! [key_bias]
    Rows values(batch, 1, length);  // -inf hides a key
    const key_bias bias{values};
    //! [key_bias]
    static_cast<void>(bias);
  }
}

void masks(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<float>& slopes) {
  Tensor out;
  {
    //! [causal]
    out = attention(q, k, v, alibi{slopes}, causal{});
    out = attention(q, k, v);  // the same as with full{}
    //! [causal]
  }
  {
    //! [windows]
    out = attention(q, k, v, sliding_window{4096});  // the query's own key and 4095 before it
    const band both_sides{64, 64};                   // ModernBERT's local layers
    //! [windows]
    static_cast<void>(both_sides);
  }
  {
    //! [blocks]
    const chunked_causal llama4{8192};
    const blockwise_causal lex{length / 2};
    const block_lower own_block_and_before{64};
    //! [blocks]
    static_cast<void>(llama4), static_cast<void>(lex), static_cast<void>(own_block_and_before);
  }
  {
    //! [prefix]
    const int prompt = 100;
    out = attention(q, k, v, prefix{prompt});
    //! [prefix]
  }
  {
    //! [both_either]
    out = attention(q, k, v, causal{}, either{sliding_window{1024}, sinks{4}});
    const either past_or_sinks{both{causal{}, band{255, 0}}, sinks{4}};
    //! [both_either]
    static_cast<void>(past_or_sinks);
  }
  {
    //! [key_ranges]
    // An image at positions 10 to 19 whose tokens see each other, in a causal text (Gemma 3).
    Positions first(1, length), last(1, length);
    for (int i = 0; i < length; ++i) {
      first(0, i) = 0;
      last(0, i) = 10 <= i && i < 20 ? 20 : i + 1;
    }
    out = attention(q, k, v, key_ranges{first, last});
    //! [key_ranges]
  }
  {
    //! [selected_keys]
    // Ascending positions of 64 keys for each query, -1 behind the last
    Eigen::Tensor<std::int32_t, 4, Eigen::RowMajor> list(batch, 1, length, 64);
    list.setConstant(-1);
    out = attention(q, k, v, causal{}, selected_keys{list});
    //! [selected_keys]
  }
}

void batches(const Tensor& q, const Tensor& k, const Tensor& v, const rotary_table& rope,
             const Eigen::Tensor<float, 2, Eigen::RowMajor>& table) {
  Tensor out;
  {
    //! [documents]
    const std::vector<index_t> starts{0, 100, 180, length};  // cumulative lengths
    out = attention(q, k, v, rotary{rope}, documents{starts}, causal{});
    const documents each_by_blocks{starts, blockwise_causal{32}};
    //! [documents]
    static_cast<void>(each_by_blocks);
  }
  {
    //! [left_padding]
    const std::vector<index_t> counts{0, 56};  // the second prompt is 56 tokens shorter
    out = attention(q, k, v, rotary{rope}, left_padding{counts}, causal{});
    const left_padding behind{counts, chunked_causal{64}};
    //! [left_padding]
    static_cast<void>(behind);
  }
  {
    //! [right_padding]
    const std::vector<index_t> lengths{length, 200};
    out = attention(q, k, v, right_padding{lengths});
    //! [right_padding]
  }
  {
    //! [tree]
    // Two drafts of the next token, and one that follows each of them
    const std::vector<index_t> parents{-1, -1, 0, 1};
    const index_t cached = length - 4;
    const std::vector<index_t> of_drafts = tree_positions(parents, cached);
    const tree drafts{parents, cached};
    //! [tree]
    static_cast<void>(drafts);
  }
  {
    //! [token_positions]
    rotary_frequencies frequencies = rope_frequencies(128, 1e6);
    frequencies.axes = mrope_axes(std::array<index_t, 3>{16, 24, 24});  // Qwen2-VL
    const rotary_table mrope(frequencies, pair_layout::half_split);
    Eigen::Tensor<index_t, 3, Eigen::RowMajor> positions(3, batch, length);  // time, row, column
    out = attention(q, k, v, rotary{mrope}, causal{}, token_positions{positions, positions});
    //! [token_positions]
    //! [on_axis]
    const on_axis across{1, t5_bias{table, bidirectional, {32, 100}}};
    const on_axis down{2, t5_bias{table, bidirectional, {32, 100}}};
    //! [on_axis]
    static_cast<void>(across), static_cast<void>(down);
  }
}

void softmax(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<float>& weights) {
  Tensor out;
  {
    //! [sink_logits]
    out = attention(q, k, v, causal{}, sink_logits{weights});  // [heads]
    //! [sink_logits]
  }
  {
    //! [row_sink_logits]
    Rows logits(batch, heads, length);  // computed by the model
    const row_sink_logits sinks_of_rows{logits};
    //! [row_sink_logits]
    static_cast<void>(sinks_of_rows);
  }
  {
    //! [softcap_after_bias]
    const softcap_after_bias gemma_audio{50.0f};
    //! [softcap_after_bias]
    static_cast<void>(gemma_audio);
  }
  {
    //! [temperature]
    out = attention(q, k, v, causal{}, temperature{0.85});
    //! [temperature]
  }
  {
    //! [head_temperature]
    const std::vector<float> temperatures(heads, 0.9f);  // align_temperatures finds them
    const head_temperature of_heads{temperatures};
    //! [head_temperature]
    static_cast<void>(of_heads);
  }
  {
    //! [logit_scaling]
    out = attention(q, k, v, causal{}, log_n{512});
    const ssmax scalable{weights};               // [heads]
    const position_log llama4{};                 // its layers without rotation
    const position_log ministral{0.1, 8192, 0};  // positions count from 0
    const position_log_ratio inkling{0.1, 4096};
    const position_power beam{0.1, 2048};
    const head_position_log mistral_large{weights, weights};
    //! [logit_scaling]
    static_cast<void>(scalable), static_cast<void>(llama4), static_cast<void>(ministral);
    static_cast<void>(inkling), static_cast<void>(beam), static_cast<void>(mistral_large);
  }
}

void caches(const Tensor& q, const Tensor& k, const Tensor& v, const rotary& rope) {
  Tensor out(q.dimensions());
  const Eigen::DefaultDevice device;
  constexpr int capacity = 1024, pages = 64, page_rows = 16;
  using Stored = Eigen::Tensor<Eigen::bfloat16, 4, Eigen::RowMajor>;
  {
    //! [contiguous]
    Stored keys(batch, key_heads, capacity, head_dim), values = keys;
    std::vector<index_t> lengths(batch, 0);
    const contiguous_cache<bfloat16> cache{{keys, values}, lengths};
    append(device, cache, k, v, rope);
    attention(device, out, q, cache, rope, causal{});
    //! [contiguous]
    //! [truncate]
    const index_t drafts = 4;
    throw_unless(truncate(cache, 0, lengths[0] - drafts));
    //! [truncate]
  }
  {
    //! [ring]
    // 4 sinks, a window of 512 keys, and rows appended one by one
    Stored keys(batch, key_heads, 4 + 512, head_dim), values = keys;
    std::vector<index_t> lengths(batch, 0), oldest(batch, 0);
    const ring_cache<bfloat16> cache{{keys, values}, lengths, {oldest, 4, 512}};
    //! [ring]
    static_cast<void>(cache);
  }
  {
    //! [paged]
    Stored keys(pages, key_heads, page_rows, head_dim), values = keys;
    Eigen::Tensor<int, 2, Eigen::RowMajor> block_table(batch, capacity / page_rows);
    std::vector<index_t> lengths(batch, 0);
    const paged_cache<bfloat16> cache{{keys, values}, lengths, {block_table}};
    //! [paged]
    //! [page_pool]
    page_pool pool(pages);
    for (index_t sequence = 0; sequence < batch; ++sequence) {
      throw_unless(pool.reserve(cache, sequence, cache.length(sequence) + k.dimension(2)));
    }
    append(device, cache, k, v, rope);
    throw_unless(pool.truncate(cache, 1, 0));
    throw_unless(pool.fork(cache, 0, 1));  // sequence 1 continues sequence 0
    //! [page_pool]
  }
  {
    //! [int8]
    Eigen::Tensor<std::int8_t, 4, Eigen::RowMajor> keys(batch, key_heads, capacity, head_dim);
    Eigen::Tensor<std::int8_t, 4, Eigen::RowMajor> values = keys;
    Rows key_scales(batch, key_heads, capacity), value_scales = key_scales;
    std::vector<index_t> lengths(batch, 0);
    const contiguous_cache<int8> cache{{keys, values, key_scales, value_scales}, lengths};
    //! [int8]
    static_cast<void>(cache);
  }
  {
    //! [int4]
    using group = int4_group<32>;
    constexpr index_t groups = head_dim / 32;
    std::vector<group> keys(batch * key_heads * capacity * groups), values = keys;
    const std::array<index_t, 4> shape{batch, key_heads, capacity, groups};
    std::vector<index_t> lengths(batch, 0);
    const contiguous_cache<group> cache{
        {view<group, 4>(keys.data(), shape), view<group, 4>(values.data(), shape)}, lengths};
    //! [int4]
    static_cast<void>(cache);
  }
  {
    const rotary_table table(rope_frequencies(64), pair_layout::interleaved);
    //! [latent]
    // DeepSeek: 512 channels that are also the values, and 64 that rotate
    Eigen::Tensor<Eigen::half, 4, Eigen::RowMajor> keys(batch, 1, capacity, 512 + 64);
    std::vector<index_t> lengths(batch, 0);
    const contiguous_cache<half> cache{latent_memory<half>(keys, 512), lengths};
    append(device, cache, k, rotary{table, 512});
    //! [latent]
  }
}

void calls(const Tensor& q, const Tensor& k, const Tensor& v, const std::vector<float>& slopes) {
  const serial runner;
  {
    //! [options]
    Rows lse(batch, heads, length);
    const Tensor out = attention(q, k, v, causal{}, options{.softcap = 30.0f, .lse = lse});
    //! [options]
  }
  {
    //! [statistics]
    Rows entropy(batch, heads, length);
    const Tensor out = attention(q, k, v, causal{}, options{.statistics = {.entropy = entropy}});
    //! [statistics]
  }
  {
    const Tensor &longer_q = q, &longer_k = k;
    //! [align]
    std::vector<double> targets(heads);  // at the training length
    throw_unless(measure_sharpness(runner, sharpness::entropy, targets, view_of(q), view_of(k),
                                   alibi{slopes}, causal{}));
    std::vector<float> temperatures(heads);  // at the longer one
    throw_unless(align_temperatures(runner, sharpness::entropy, targets, temperatures,
                                    view_of(longer_q), view_of(longer_k), alibi{slopes}, causal{}));
    const head_temperature sharper{temperatures};
    //! [align]
    static_cast<void>(sharper);
  }
}

void model_data(Tensor& k) {
  {
    //! [slopes]
    const std::vector<float> bloom = alibi_slopes(112);
    const std::vector<float> of_rank_1 = alibi_slopes(head_shard{14, 14, 112});
    //! [slopes]
  }
  {
    //! [frequencies]
    const rotary_frequencies llama2 = rope_frequencies(128);
    const rotary_frequencies llama31 = llama3_frequencies(128);
    const double factor = 40.0, mscale = 0.707, mscale_all_dim = 0.707;  // DeepSeek-V2
    rotary_frequencies deepseek = yarn_frequencies(64, factor, 4096);
    deepseek.attention_factor = yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all_dim);
    const rotary_table table(llama31, pair_layout::half_split);
    //! [frequencies]
  }
  {
    //! [rotate]
    const index_t position = 100;  // of the first row
    throw_unless(rotate(view_of(k), rope_frequencies(head_dim), pair_layout::half_split, position));
    //! [rotate]
  }
  {
    //! [sinusoidal]
    Rows embeddings(batch, length, 512);  // [batch, position, channel]
    throw_unless(fill_sinusoidal(view<float, 3>(embeddings), sinusoidal_layout::interleaved));
    //! [sinusoidal]
  }
  {
    //! [buckets]
    const t5_buckets decoder{32, 128, unidirectional};
    const index_t of_ten_keys_before = decoder.bucket(-10);
    //! [buckets]
    static_cast<void>(of_ten_keys_before);
  }
}

struct loop_in_order {
  template <class Body>
  void operator()(index_t count, Body&& body) const {
    for (index_t i = 0; i < count; ++i) body(i);
  }
};

//! [own_executor]
struct backwards {
  static constexpr index_t workers() { return 1; }
  template <class Item>
  void run(index_t count, Item&& item) const {
    for (index_t i = count; i-- > 0;) item(i, index_t{0});
  }
};
static_assert(executor<backwards>);
//! [own_executor]

void devices(const view<const float, 4>& q, const view<const float, 4>& k,
             const view<const float, 4>& v, const view<float, 4>& out, std::span<std::byte> memory,
             const loop_in_order& parallel_for) {
  {
    //! [on_loop]
    const on_loop runner{
        [&](index_t count, auto run_item) { parallel_for(count, [&](index_t i) { run_item(i); }); },
        8};
    //! [on_loop]
    static_assert(executor<std::remove_const_t<decltype(runner)>>);
  }
  {
    //! [team_member]
    const int threads = 2;
    std::barrier barrier(threads);
    const auto work = [&](int thread) {
      const auto wait = [&] { barrier.arrive_and_wait(); };
      return attention(team_member{thread, threads, wait}, {memory.data(), memory.size()}, out, q,
                       k, v, causal{});
    };
    std::jthread second([&] { static_cast<void>(work(1)); });
    const status done = work(0);
    //! [team_member]
    static_cast<void>(done);
  }
}
