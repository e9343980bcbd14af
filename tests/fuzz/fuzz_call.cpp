#include "fuzz_call.hpp"

#include <algorithm>
#include <cmath>

#include "relpos/attention.hpp"
#include "relpos/policies.hpp"

namespace fuzzing {
namespace {

using relpos::bfloat16;
using relpos::half;
using relpos::index_t;

/// Draws numbers in a range, and sometimes others.
struct drawer {
  provider& bytes;
  int once_in;
  bool was_extreme = false;

  bool is_rare() { return once_in > 0 && bytes.ConsumeIntegral<std::uint8_t>() < 256 / once_in; }
  index_t number(index_t first, index_t last) {
    if (!is_rare()) return bytes.ConsumeIntegralInRange(first, last);
    was_extreme = true;
    return extreme_number(bytes);
  }
  float real(float usual) {
    if (!is_rare()) return usual;
    was_extreme = true;
    return extreme_float(bytes);
  }
  bool one_in(int n) { return bytes.ConsumeIntegral<std::uint8_t>() % n == n - 1; }
};

/// A tensor drawn with a shape, and a view of it. One that is too large has a pointer that is not
/// null, so that checks go on; null if checks read its numbers.
template <class T, std::size_t Rank = 4>
struct drawn {
  exact_tensor<T, Rank> tensor;
  std::vector<unsigned char> image;
  T elsewhere{};
  bool is_unread = false;  // by checks

  drawn() = default;
  drawn(drawer& draw, std::array<index_t, Rank> shape, bool is_written)
      : is_unread(is_written || (Rank == 4 && !std::is_same_v<T, std::int32_t>)) {
    std::array<index_t, 4> four{1, 1, 1, 1};
    std::copy(shape.begin(), shape.end(), four.begin());
    const auto steps = any_strides(draw.bytes, four, is_written);
    std::array<index_t, Rank> strides;
    std::copy(steps.begin(), steps.begin() + Rank, strides.begin());
    for (index_t& extent : shape) {
      if (draw.is_rare()) extent = extreme_number(draw.bytes);
    }
    for (index_t& stride : strides) {
      if (draw.is_rare()) stride = extreme_number(draw.bytes);
    }
    tensor = exact_tensor<T, Rank>(shape, strides);
    if constexpr (std::is_same_v<T, float> || std::is_same_v<T, half> ||
                  std::is_same_v<T, bfloat16>) {
      if (!is_written) {
        number_stream numbers(draw.bytes.ConsumeIntegral<std::uint8_t>());
        tensor.fill(numbers);
      }
    }
    image = tensor.memory.image();
  }

  bool fits() const { return tensor.fits; }
  relpos::view<T, static_cast<int>(Rank)> view() {
    return {tensor.fits ? tensor.data
            : is_unread ? &elsewhere
                        : nullptr,
            tensor.shape, tensor.strides};
  }
  relpos::view<const T, static_cast<int>(Rank)> read() { return view(); }

  bool is_unchanged() const { return tensor.memory.is(image); }
  bool has_intact_gaps() { return tensor.has_intact_gaps(image); }
};

/// Runs items in any order, as any worker.
struct workers_in_turn {
  index_t count;
  std::uint32_t seed;

  index_t workers() const { return count; }
  template <class Item>
  void run(index_t items, Item&& item) const {
    const bool is_reversed = seed % 2 == 1;
    for (index_t i = 0; i < items; ++i) {
      item(is_reversed ? items - 1 - i : i, (i * (1 + seed % 5)) % count);
    }
  }
};

template <class T>
double rounding_of() {
  if constexpr (std::is_same_v<T, bfloat16>) return 0x1p-8;
  if constexpr (std::is_same_v<T, half>) return 0x1p-11;
  return 0.0;
}

/// The tensors and options of a call.
template <class Out, class Query, class Key>
struct call_arguments {
  drawer draw;
  index_t batch, key_heads, heads, queries, keys, d, dv;
  bool is_ragged, is_ragged_in_keys;
  drawn<Query> q;
  drawn<Key> k, v;
  drawn<Out> out;
  std::array<drawn<float, 3>, 6> rows;  // lse and statistics
  exact_array<index_t> query_starts, query_offsets;
  exact_array<std::int32_t> key_starts, key_offsets;
  relpos::options opts;
  workers_in_turn runner{1, 0};

  call_arguments(provider& bytes, extremes rate) : draw{bytes, rate.once_in} {
    batch = bytes.ConsumeIntegralInRange(0, 3);
    key_heads = bytes.ConsumeIntegralInRange(1, 2);
    heads = key_heads * bytes.ConsumeIntegralInRange(1, 3);
    queries = bytes.ConsumeIntegralInRange(0, 9);
    keys = bytes.ConsumeIntegralInRange(0, 12);
    d = bytes.ConsumeIntegralInRange(1, 9);
    dv = bytes.ConsumeIntegralInRange(0, 9);
    const auto longer = bytes.ConsumeIntegral<std::uint8_t>();
    if (longer % 32 == 1) keys += longer;
    if (longer % 32 == 2) queries += longer / 4;
    if (longer % 32 == 3) d += longer / 4;
    if (longer % 32 == 4) dv += longer / 4;
    if (longer == 101) keys += 1100;
    is_ragged = batch > 0 && draw.one_in(8);
    is_ragged_in_keys = is_ragged && bytes.ConsumeBool();
    const index_t query_entries = is_ragged ? 1 : batch;
    const index_t key_entries = is_ragged_in_keys ? 1 : batch;
    q = {draw, {query_entries, heads, queries, d}, false};
    k = {draw, {key_entries, key_heads, keys, d}, false};
    v = {draw, {key_entries, key_heads, keys, dv}, false};
    out = {draw, {query_entries, heads, queries, dv}, true};
    set_options(query_entries);
  }

  void set_options(index_t query_entries) {
    provider& bytes = draw.bytes;
    if (is_ragged) {
      query_starts = exact_array<index_t>(at(batch + 1));
      fill_starts(query_starts, queries);
      opts.query_starts = std::span<const index_t>(query_starts.data(), query_starts.size());
    }
    if (is_ragged_in_keys) {
      key_starts = exact_array<std::int32_t>(at(batch + 1));
      fill_starts(key_starts, keys);
      opts.key_starts = std::span<const std::int32_t>(key_starts.data(), key_starts.size());
    }
    if (bytes.ConsumeBool()) opts.scale = draw.real(0.5f);
    if (draw.one_in(4)) opts.softcap = draw.real(2.0f);
    if (draw.one_in(8)) opts.tolerance = draw.real(1e-4f);
    if (draw.one_in(4)) {
      query_offsets = exact_array<index_t>(at(batch));
      for (index_t& offset : query_offsets) offset = draw.number(-9, 40);
      opts.query_offsets = std::span<const index_t>(query_offsets.data(), query_offsets.size());
    } else if (bytes.ConsumeBool()) {
      opts.query_offset = draw.number(-9, 40);
    }
    if (draw.one_in(8)) {
      key_offsets = exact_array<std::int32_t>(at(batch));
      for (std::int32_t& offset : key_offsets) {
        offset = static_cast<std::int32_t>(bytes.ConsumeIntegralInRange(-9, 40));
      }
      opts.key_offsets = std::span<const std::int32_t>(key_offsets.data(), key_offsets.size());
    } else if (draw.one_in(4)) {
      opts.key_offset = draw.number(-9, 40);
    }
    opts.kernel = static_cast<relpos::kernel_class>(bytes.ConsumeIntegralInRange(0, 2));
    if (draw.one_in(8)) opts.arithmetic = relpos::arithmetic_type::bfloat16;
    const auto wanted = bytes.ConsumeIntegral<std::uint8_t>();
    std::array<std::optional<relpos::view<float, 3>>*, 6> outputs{&opts.lse,
                                                                  &opts.statistics.max_probability,
                                                                  &opts.statistics.entropy,
                                                                  &opts.statistics.logit_count,
                                                                  &opts.statistics.logit_mean,
                                                                  &opts.statistics.logit_variance};
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const bool is_wanted = i == 0 ? wanted % 2 == 0 : wanted >= 192 && (wanted >> i) % 2 == 0;
      if (!is_wanted) continue;
      rows[i] = {draw, {query_entries, heads, queries}, true};
      *outputs[i] = rows[i].view();
    }
    runner.count = draw.number(1, 4);
    runner.seed = bytes.ConsumeIntegral<std::uint8_t>();
  }

  static std::size_t at(index_t i) { return static_cast<std::size_t>(i); }
  template <class List>
  void fill_starts(List& starts, index_t all) {
    index_t row = 0;
    for (auto& start : starts) {
      start = static_cast<std::decay_t<decltype(start)>>(row);
      row = std::min(all, row + draw.bytes.ConsumeIntegralInRange(0, 7));
    }
    starts[starts.size() - 1] = static_cast<std::decay_t<decltype(starts[0])>>(all);
    if (!draw.is_rare()) return;
    starts[draw.bytes.ConsumeIntegralInRange<std::size_t>(0, starts.size() - 1)] =
        static_cast<std::decay_t<decltype(starts[0])>>(extreme_number(draw.bytes));
  }

  /// Shapes that policies have in mind: each sequence as long as the longest.
  index_t longest_queries() const { return longest(query_starts, queries); }
  index_t longest_keys() const { return longest(key_starts, keys); }
  template <class List>
  static index_t longest(const List& starts, index_t all) {
    if (starts.size() == 0) return all;
    index_t result = 0;
    for (std::size_t i = 1; i < starts.size(); ++i) {
      // Modulo 2^64, because starts may be any numbers.
      const auto length = static_cast<index_t>(static_cast<std::uint64_t>(starts[i]) -
                                               static_cast<std::uint64_t>(starts[i - 1]));
      result = std::max<index_t>(result, length);
    }
    return std::min<index_t>(result, 1 << 10);
  }

  bool has_memory() const {
    bool result = q.fits() && k.fits() && v.fits() && out.fits();
    for (const auto& each : rows) result = result && (each.fits() || each.tensor.shape[0] == 0);
    return result;
  }
  bool outputs_are_unchanged() const {
    bool result = out.is_unchanged();
    for (const auto& each : rows) result = result && each.is_unchanged();
    return result;
  }
  bool gaps_are_unchanged() {
    bool result = out.has_intact_gaps();
    for (auto& each : rows) result = result && each.has_intact_gaps();
    return result;
  }

  /// Makes the call; policies are drawn already.
  template <class... Policies>
  void attend(bool policies_have_memory, const Policies&... policies) {
    provider& bytes = draw.bytes;
    const auto call =
        relpos::prepare(runner, out.view(), q.read(), k.read(), v.read(), policies..., opts);
    const std::size_t needed = call.workspace_bytes();
    const relpos::status valid = call.valid();
    require(static_cast<bool>(valid) || needed == 0, "a refused call needs no workspace");
    require(static_cast<bool>(valid) == (valid.message[0] == 0), "a refusal has a text");
    // The size alone asks the same questions, and no outputs.
    const std::size_t counted =
        relpos::workspace_bytes(runner, q.read(), k.read(), v.read(), policies..., opts);
    require(!valid || counted == needed, "both ways to count a workspace agree");
    const bool may_run = has_memory() && policies_have_memory && needed <= 1 << 22;
    const bool has_room = may_run && bytes.ConsumeIntegral<std::uint8_t>() < 250;
    const std::size_t offset = bytes.ConsumeIntegralInRange<std::size_t>(0, 3);
    const std::size_t given =
        has_room ? needed : bytes.ConsumeIntegralInRange<std::size_t>(0, 70) % (needed + 1);
    if (!may_run && given >= needed) return;
    exact_array<std::byte> memory(given + offset);
    const relpos::status done = call.run(runner, {memory.data() + offset, given});
    if (!done) {
      require(done.message[0] != 0, "a refusal has a text");
      require(outputs_are_unchanged(), "a refused call writes nothing", done.message);
      require(std::all_of(memory.begin(), memory.end(),
                          [](std::byte x) { return x == std::byte{0xff}; }),
              "a refused call leaves the workspace", done.message);
      return;
    }
    require(gaps_are_unchanged(), "only elements are written");
    if (!draw.was_extreme) expect_reference(policies...);
  }

  template <class... Policies>
  void expect_reference(const Policies&... policies) {
    const auto& shape = out.tensor.shape;
    const index_t row_count = shape[0] * shape[1] * shape[2];
    std::vector<double> exact(at(row_count * shape[3]));
    std::vector<double> sums(at(row_count));
    std::array<std::vector<float>, 5> statistics;
    relpos::options reference_opts = opts;
    std::array<std::optional<relpos::view<float, 3>>*, 5> outputs{
        &reference_opts.statistics.max_probability, &reference_opts.statistics.entropy,
        &reference_opts.statistics.logit_count, &reference_opts.statistics.logit_mean,
        &reference_opts.statistics.logit_variance};
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      if (!*outputs[i]) continue;
      statistics[i].resize(at(row_count));
      *outputs[i] = relpos::view<float, 3>(statistics[i].data(), {shape[0], shape[1], shape[2]});
    }
    const relpos::view<double, 4> exact_out(exact.data(), shape);
    const relpos::view<double, 3> exact_sums(sums.data(), {shape[0], shape[1], shape[2]});
    const relpos::status done = relpos::reference_attention(
        exact_out, exact_sums, q.read(), k.read(), v.read(), policies..., reference_opts);
    require(static_cast<bool>(done), "the reference makes the same calls", done.message);
    std::size_t at_row = 0;
    std::size_t at_channel = 0;
    for (index_t b = 0; b < shape[0]; ++b) {
      for (index_t h = 0; h < shape[1]; ++h) {
        for (index_t i = 0; i < shape[2]; ++i, ++at_row) {
          const double sum = sums[at_row];
          const double size = std::isfinite(sum) ? 1.0 + std::abs(sum) : 1.0;
          const double tolerance =
              1e-5 * size + 4.0 * static_cast<double>(opts.tolerance) +
              (opts.arithmetic == relpos::arithmetic_type::bfloat16 ? 0.1 : 0.0);
          for (index_t c = 0; c < shape[3]; ++c) {
            expect("out", static_cast<double>(static_cast<float>(out.tensor(b, h, i, c))),
                   exact[at_channel++], tolerance + rounding_of<Out>());
          }
          if (opts.lse) expect("lse", row(0, b, h, i), sum, tolerance);
          for (std::size_t s = 0; s < statistics.size(); ++s) {
            if (statistics[s].empty()) continue;
            const auto wanted = static_cast<double>(statistics[s][at_row]);
            expect("a statistic", row(s + 1, b, h, i), wanted,
                   10.0 * tolerance * (1.0 + std::abs(wanted)));
          }
        }
      }
    }
  }
  double row(std::size_t output, index_t b, index_t h, index_t i) const {
    return static_cast<double>(rows[output].tensor(b, h, i));
  }
  static void expect(const char* name, double got, double wanted, double tolerance) {
    if (got == wanted || std::abs(got - wanted) <= tolerance) return;
    std::fprintf(stderr, "%s is %.9g, must be %.9g within %.3g\n", name, got, wanted, tolerance);
    require(false, "results equal the reference");
  }
};

/// A list of numbers per head, row or sequence, and a span of it.
template <class T>
struct drawn_list {
  exact_array<T> numbers;

  template <class Draw>
  drawn_list(index_t count, const Draw& draw_one)
      : numbers(static_cast<std::size_t>(std::clamp<index_t>(count, 0, 4096))) {
    for (T& number : numbers) number = draw_one();
  }
  std::span<const T> span() const { return {numbers.data(), numbers.size()}; }
};

const relpos::rotary_table& rotation(std::size_t i) {
  static const relpos::rotary_table tables[] = {
      {relpos::rope_frequencies(2), relpos::pair_layout::half_split},
      {relpos::rope_frequencies(4), relpos::pair_layout::interleaved},
      {relpos::xpos_frequencies(4), relpos::pair_layout::half_split},
      {relpos::rope_frequencies(8), relpos::pair_layout::half_split}};
  return tables[i];
}

/// The policies of calls over any types.
template <class Out, class Query, class Key>
void fuzz_slopes(provider& bytes, extremes rate) {
  call_arguments<Out, Query, Key> call(bytes, rate);
  drawer& draw = call.draw;
  number_stream numbers(bytes.ConsumeIntegral<std::uint8_t>());
  const drawn_list<float> slopes(call.heads, [&] { return draw.real(0.3f * numbers.next()); });
  if (bytes.ConsumeBool()) {
    call.attend(true, relpos::alibi(slopes.span()), relpos::causal{});
  } else {
    call.attend(true, relpos::causal{}, relpos::temperature(draw.real(0.7f)));
  }
}

/// The policies of calls over float32.
void fuzz_policies(provider& bytes, extremes rate) {
  call_arguments<float, float, float> call(bytes, rate);
  drawer& draw = call.draw;
  number_stream numbers(bytes.ConsumeIntegral<std::uint8_t>());
  const auto real = [&] { return draw.real(numbers.next()); };
  const index_t queries = call.longest_queries();
  const index_t keys = call.longest_keys();
  const auto table_of = [&]() -> const relpos::rotary_table& {
    return rotation(bytes.ConsumeIntegralInRange<std::size_t>(0, 3));
  };
  switch (bytes.ConsumeIntegralInRange(0, 11)) {
    case 0:
      return call.attend(true);
    case 1: {
      const index_t buckets = draw.is_rare() ? extreme_number(bytes)
                                             : 2 * draw.bytes.ConsumeIntegralInRange<index_t>(2, 6);
      const index_t count = std::clamp<index_t>(buckets, 0, 64) * call.heads;
      const drawn_list<float> table(count, real);
      const relpos::t5_bias bias(
          table.span(), bytes.ConsumeBool() ? relpos::bidirectional : relpos::unidirectional,
          {.num_buckets = buckets, .max_distance = draw.number(7, 40)});
      const drawn_list<float> sinks(call.heads, real);
      return call.attend(true, bias, relpos::sliding_window(draw.number(1, 9)),
                         relpos::sink_logits(sinks.span()));
    }
    case 2: {
      const drawn_list<float> temperatures(
          call.heads, [&] { return draw.real(std::abs(numbers.next()) + 0.3f); });
      return call.attend(true, relpos::rotary(table_of(), draw.number(0, 2)), relpos::causal{},
                         relpos::head_temperature(temperatures.span()));
    }
    case 3: {
      const auto extent = [&](index_t whole) { return bytes.ConsumeBool() ? whole : index_t{1}; };
      drawn<float> matrix(
          draw, {extent(call.batch), extent(call.heads), extent(queries), extent(keys)}, false);
      const drawn_list<index_t> counts(call.batch, [&] { return draw.number(0, 9); });
      return call.attend(
          matrix.fits(), relpos::additive_bias(matrix.read()),
          relpos::left_padding(counts.span(), relpos::chunked_causal(draw.number(1, 5))));
    }
    case 4: {
      index_t start = draw.number(-3, 3);
      const drawn_list<index_t> starts(bytes.ConsumeIntegralInRange(0, 5), [&] {
        const index_t result = start;
        start = draw.is_rare()
                    ? extreme_number(bytes)
                    : std::clamp<index_t>(start, -50, 50) + bytes.ConsumeIntegralInRange(0, 9);
        return result;
      });
      const drawn_list<index_t> lengths(call.batch, [&] { return draw.number(0, 30); });
      return call.attend(true, relpos::documents(starts.span()),
                         relpos::right_padding(lengths.span()),
                         relpos::softcap_after_bias{draw.real(1.5f)});
    }
    case 5: {
      drawn<std::int32_t> list(draw,
                               {call.batch, bytes.ConsumeBool() ? call.key_heads : 1, queries,
                                bytes.ConsumeIntegralInRange(0, 4)},
                               false);
      std::int32_t key = 0;
      list.tensor.for_each([&](std::int32_t& entry) {
        const auto step = bytes.ConsumeIntegral<std::uint8_t>();
        key = step >= 224 ? -1 : (key < 0 || step % 8 == 7 ? 0 : key + step % 4 + 1);
        entry = draw.is_rare() ? bytes.ConsumeIntegral<std::int32_t>() : key;
      });
      const drawn_list<float> slopes(call.heads, real);
      return call.attend(list.fits(), relpos::selected_keys(list.read(), draw.number(1, 3)),
                         relpos::alibi(slopes.span()));
    }
    case 6: {
      drawn<float> coefficients(
          draw, {call.batch, call.heads, queries, bytes.ConsumeIntegralInRange(0, 3)}, false);
      drawn<float, 3> tables(draw,
                             {bytes.ConsumeBool() ? call.heads : 1, coefficients.tensor.shape[3],
                              bytes.ConsumeIntegralInRange(1, 6)},
                             false);
      const auto ends =
          bytes.ConsumeBool() ? relpos::table_ends::zero : relpos::table_ends::repeated;
      return call.attend(
          coefficients.fits() && tables.fits(),
          relpos::mixed_bias(coefficients.read(), tables.read(), draw.number(-5, 5), ends),
          relpos::band(draw.number(0, 9), draw.number(0, 9)));
    }
    case 7: {
      index_t node = 0;
      const drawn_list<index_t> parents(bytes.ConsumeIntegralInRange(0, 12), [&] {
        const index_t result = draw.is_rare() ? extreme_number(bytes)
                                              : bytes.ConsumeIntegralInRange<index_t>(-1, node - 1);
        ++node;
        return result;
      });
      return call.attend(true, relpos::tree(parents.span(), draw.number(-4, 20)));
    }
    case 8: {
      const index_t axes = bytes.ConsumeIntegralInRange(1, 2);
      drawn<index_t, 3> query_positions(draw, {axes, call.batch, queries}, false);
      drawn<index_t, 3> key_positions(draw, {axes, call.batch, keys}, false);
      query_positions.tensor.for_each([&](index_t& x) { x = draw.number(-20, 20); });
      key_positions.tensor.for_each([&](index_t& x) { x = draw.number(-20, 20); });
      const drawn_list<float> slopes(call.heads, real);
      return call.attend(query_positions.fits() && key_positions.fits(), relpos::rotary(table_of()),
                         relpos::alibi(slopes.span()),
                         relpos::token_positions(query_positions.read(), key_positions.read()));
    }
    case 9: {
      drawn<float, 3> gates(draw, {call.batch, call.heads, queries}, false);
      const index_t buckets = 8;
      const drawn_list<float> table(buckets * call.heads, real);
      const relpos::t5_bias bias(table.span(), relpos::bidirectional,
                                 {.num_buckets = buckets, .max_distance = draw.number(7, 40)});
      return call.attend(gates.fits(), relpos::gated_bias(gates.read(), bias),
                         relpos::prefix(draw.number(0, 9)));
    }
    case 10:
      return call.attend(true, relpos::log_n(draw.number(2, 9)),
                         relpos::blockwise_causal(draw.number(1, 6)),
                         relpos::sinks(draw.number(0, 3)));
    default: {
      drawn<index_t, 2> first(draw, {bytes.ConsumeBool() ? call.batch : 1, 60}, false);
      drawn<index_t, 2> last(draw, {first.tensor.shape[0], 60}, false);
      first.tensor.for_each([&](index_t& x) { x = draw.number(-9, 9); });
      last.tensor.for_each([&](index_t& x) { x = draw.number(-9, 30); });
      drawn<float, 3> sinks(draw, {call.batch, call.heads, queries}, false);
      return call.attend(first.fits() && last.fits() && sinks.fits(),
                         relpos::key_ranges(first.read(), last.read()),
                         relpos::row_sink_logits(sinks.read()));
    }
  }
}

}  // namespace

void fuzz_call(provider& bytes, extremes rate) {
  switch (bytes.ConsumeIntegralInRange(0, 7)) {
    case 0:
      return fuzz_slopes<float, float, float>(bytes, rate);
    case 1:
      return fuzz_slopes<bfloat16, bfloat16, bfloat16>(bytes, rate);
    case 2:
      return fuzz_slopes<half, float, half>(bytes, rate);
    default:
      return fuzz_policies(bytes, rate);
  }
}

}  // namespace fuzzing
