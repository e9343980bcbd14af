// Sequences of operations on caches, beside a model: a list of rows for each sequence. Every row
// that a cache should have is read back after each operation, and attention over it is compared
// with the definition over the model's rows.

#include "relpos/caches.hpp"

#include <algorithm>
#include <cmath>

#include "exact_memory.hpp"
#include "relpos/attention.hpp"
#include "relpos/policies.hpp"

namespace {

using fuzzing::exact_array;
using fuzzing::exact_tensor;
using fuzzing::provider;
using fuzzing::require;
using relpos::channels_of_element;
using relpos::index_t;

using numbers = std::vector<float>;

/// A row of all key heads, as a cache has to read it.
struct model_row {
  numbers keys, values;
};

enum class kind { contiguous, ring, paged };

std::size_t at(index_t i) { return static_cast<std::size_t>(i); }

/// The largest error of a number that is stored in a row of numbers up to `most`, or in a group
/// that spans `span`.
template <class Stored>
double storing_error(double number, double most, double span) {
  if constexpr (std::is_same_v<Stored, float>) return 0.0;
  if constexpr (std::is_same_v<Stored, relpos::bfloat16>) return std::abs(number) * 0x1p-8;
  if constexpr (std::is_same_v<Stored, relpos::int8>) return most / 127.0 * 0.501;
  if constexpr (std::is_same_v<Stored, relpos::float8_e4m3>) {
    return std::abs(number) * 0x1p-4 + most * 0x1p-16;
  }
  return span / 15.0 * 0.51 + most * 0x1p-9;
}

template <class Stored, kind Kind>
class cache_under_test {
 public:
  explicit cache_under_test(provider& bytes)
      : bytes_(bytes),
        sequences_(bytes.ConsumeIntegralInRange(1, 3)),
        key_heads_(bytes.ConsumeIntegralInRange(1, 2)),
        heads_(key_heads_ * bytes.ConsumeIntegralInRange(1, 3)),
        d_(bytes.ConsumeIntegralInRange(1, 3) * (channels_of_element<Stored> == 1 ? 3 : 32)),
        dv_(bytes.ConsumeIntegralInRange(1, 3) * (channels_of_element<Stored> == 1 ? 2 : 32)),
        slab_rows_(bytes.ConsumeIntegralInRange(Kind == kind::paged ? 1 : 3, 14)),
        pages_(Kind == kind::paged ? bytes.ConsumeIntegralInRange(0, 12) : sequences_),
        blocks_(bytes.ConsumeIntegralInRange(1, 6)),
        sinks_(Kind == kind::ring ? bytes.ConsumeIntegralInRange(0, 2) : 0),
        window_(Kind == kind::ring ? bytes.ConsumeIntegralInRange(0, 2) : 0),
        numbers_(bytes.ConsumeIntegral<std::uint8_t>()),
        pool_(pages_),
        rows_(at(sequences_)),
        evicted_(at(sequences_), sinks_) {
    if (window_ > slab_rows_ - sinks_) window_ = 0;
    const index_t padding = bytes.ConsumeIntegralInRange(0, 2);
    const auto laid_out = [&](index_t channels) {
      const index_t row = channels / channels_of_element<Stored> + padding;
      return exact_tensor<Stored>(
          {pages_, key_heads_, slab_rows_, channels / channels_of_element<Stored>},
          {key_heads_ * slab_rows_ * row, slab_rows_ * row, row, 1});
    };
    keys_ = laid_out(d_);
    values_ = laid_out(dv_);
    key_scales_ = exact_array<float>(at(pages_ * key_heads_ * slab_rows_));
    value_scales_ = exact_array<float>(at(pages_ * key_heads_ * slab_rows_));
    lengths_ = exact_array<index_t>(at(sequences_));
    oldest_ = exact_array<index_t>(at(sequences_));
    block_table_ = exact_array<std::int32_t>(at(sequences_ * blocks_));
    std::fill(lengths_.begin(), lengths_.end(), 0);
    std::fill(oldest_.begin(), oldest_.end(), 0);
    std::fill(block_table_.begin(), block_table_.end(), -1);
  }

  void run() {
    for (int step = 0; step < 24 && bytes_.remaining_bytes() > 0; ++step) {
      const auto operation = bytes_.ConsumeIntegral<std::uint8_t>();
      const index_t sequence = bytes_.ConsumeIntegralInRange<index_t>(0, sequences_ - 1);
      if (operation < 112) {
        append();
      } else if (operation < 144) {
        truncate(sequence);
      } else if (operation < 168) {
        if constexpr (Kind == kind::paged) fork(sequence);
      } else if (operation < 184) {
        if constexpr (Kind == kind::paged) reserve(sequence, bytes_.ConsumeIntegralInRange(-1, 40));
      } else {
        attend();
      }
      expect_rows();
    }
    attend();
  }

 private:
  auto cache() {
    relpos::cache_memory<Stored> memory{{keys_.data, keys_.shape, keys_.strides},
                                        {values_.data, values_.shape, values_.strides}};
    if constexpr (relpos::storage_traits<Stored>::is_scaled) {
      const std::array<index_t, 3> shape{pages_, key_heads_, slab_rows_};
      memory.key_scales = {key_scales_.data(), shape};
      memory.value_scales = {value_scales_.data(), shape};
    }
    const std::span<index_t> lengths(lengths_.data(), lengths_.size());
    if constexpr (Kind == kind::ring) {
      return relpos::ring_cache<Stored>{
          memory, lengths, {{oldest_.data(), oldest_.size()}, sinks_, window_}};
    } else if constexpr (Kind == kind::paged) {
      return relpos::paged_cache<Stored>{
          memory, lengths, {{block_table_.data(), {sequences_, blocks_}}}};
    } else {
      return relpos::contiguous_cache<Stored>{memory, lengths};
    }
  }

  index_t length(index_t sequence) const {
    return static_cast<index_t>(rows_[at(sequence)].size());
  }
  bool is_resident(index_t sequence, index_t row) const {
    return row < sinks_ || row >= evicted_[at(sequence)];
  }

  /// Everything that operations write.
  std::vector<unsigned char> image() const {
    std::vector<unsigned char> all;
    const auto add = [&](const auto& list) {
      const auto bytes = list.image();
      all.insert(all.end(), bytes.begin(), bytes.end());
    };
    add(keys_.memory);
    add(values_.memory);
    add(key_scales_);
    add(value_scales_);
    add(lengths_);
    add(oldest_);
    add(block_table_);
    return all;
  }

  bool reserve(index_t sequence, index_t rows) {
    const auto before = image();
    const relpos::status done = pool_.reserve(cache(), sequence, rows);
    require(done || (done.message[0] != 0 && image() == before), "a refusal changes nothing",
            done.message);
    if (done) {
      require((rows + slab_rows_ - 1) / slab_rows_ <= blocks_, "there are blocks for all rows");
    }
    return static_cast<bool>(done);
  }

  /// Appends up to some rows to each sequence, from one padded tensor or a ragged one.
  void append() {
    const bool is_ragged = bytes_.ConsumeBool();
    std::vector<index_t> counts(at(sequences_));
    std::vector<index_t> starts{0};
    const index_t same = bytes_.ConsumeIntegralInRange(0, 5);
    for (index_t& count : counts) {
      count = is_ragged ? bytes_.ConsumeIntegralInRange(0, 5) : same;
      starts.push_back(starts.back() + count);
    }
    if constexpr (Kind == kind::paged) {
      for (index_t s = 0; s < sequences_; ++s) {
        if (counts[at(s)] > 0 && !reserve(s, length(s) + counts[at(s)])) return;
      }
    }
    const index_t entries = is_ragged ? 1 : sequences_;
    const index_t rows = is_ragged ? starts.back() : same;
    const auto new_rows = [&](index_t channels) {
      const std::array<index_t, 4> shape{entries, key_heads_, rows, channels};
      exact_tensor<float> result(shape, fuzzing::any_strides(bytes_, shape, false));
      result.fill(numbers_);
      return result;
    };
    exact_tensor<float> k = new_rows(d_);
    exact_tensor<float> v = new_rows(dv_);
    require(k.fits && v.fits, "new rows have memory");
    relpos::options opts;
    if (is_ragged) opts.key_starts = std::span<const index_t>(starts);
    const auto before = image();
    const auto store = cache();
    const relpos::status done = relpos::append(
        relpos::serial{}, store, relpos::view<const float, 4>(k.data, k.shape, k.strides),
        relpos::view<const float, 4>(v.data, v.shape, v.strides), opts);
    const bool has_room = [&] {
      for (index_t s = 0; s < sequences_; ++s) {
        const index_t sum = length(s) + counts[at(s)];
        const index_t behind_sinks = sum - std::max(length(s), sinks_);
        const index_t capacity = Kind == kind::paged ? slab_rows_ * blocks_ : slab_rows_;
        if (Kind == kind::ring ? behind_sinks > slab_rows_ - sinks_ : sum > capacity) return false;
      }
      return true;
    }();
    require(static_cast<bool>(done) == has_room, "rows are appended where there is room",
            done.message);
    if (!done) {
      require(done.message[0] != 0 && image() == before, "a refused append changes nothing");
      return;
    }
    for (index_t s = 0; s < sequences_; ++s) {
      for (index_t i = 0; i < counts[at(s)]; ++i) {
        const index_t row = length(s);
        const index_t entry = is_ragged ? 0 : s;
        const index_t source = is_ragged ? starts[at(s)] + i : i;
        // The row that had the place of this one.
        if (Kind == kind::ring && row >= sinks_) {
          evicted_[at(s)] = std::max(evicted_[at(s)], row - (slab_rows_ - sinks_) + 1);
        }
        rows_[at(s)].push_back({stored(k, entry, source, d_), stored(v, entry, source, dv_)});
      }
    }
    // From now on a row is what the cache has made of it.
    for (index_t s = 0; s < sequences_; ++s) {
      for (index_t row = length(s) - counts[at(s)]; row < length(s); ++row) {
        if (!is_resident(s, row)) continue;
        adopt(rows_[at(s)][at(row)].keys, read_keys(s, row), d_);
        adopt(rows_[at(s)][at(row)].values, read_values(s, row), dv_);
      }
    }
  }

  numbers stored(const exact_tensor<float>& from, index_t entry, index_t row,
                 index_t channels) const {
    numbers result;
    for (index_t h = 0; h < key_heads_; ++h) {
      for (index_t c = 0; c < channels; ++c) result.push_back(from(entry, h, row, c));
    }
    return result;
  }

  /// Replaces a row by what was read, which is near it.
  void adopt(numbers& row, const numbers& read, index_t channels) const {
    for (index_t h = 0; h < key_heads_; ++h) {
      const auto first = row.begin() + h * channels;
      const auto [least, largest] = std::minmax_element(first, first + channels);
      const double most =
          std::max(std::abs(static_cast<double>(*least)), std::abs(static_cast<double>(*largest)));
      const double span = static_cast<double>(*largest) - static_cast<double>(*least);
      for (index_t i = h * channels; i < (h + 1) * channels; ++i) {
        const auto wanted = static_cast<double>(row[at(i)]);
        const auto got = static_cast<double>(read[at(i)]);
        require(std::abs(got - wanted) <= storing_error<Stored>(wanted, most, span),
                "rows are stored");
      }
    }
    row = read;
  }

  numbers read_keys(index_t sequence, index_t row) {
    numbers result(at(key_heads_ * d_));
    for (index_t h = 0; h < key_heads_; ++h) {
      cache().template keys<relpos::native>(sequence, h).load(row, result.data() + h * d_);
    }
    return result;
  }
  numbers read_values(index_t sequence, index_t row) {
    numbers result(at(key_heads_ * dv_));
    for (index_t h = 0; h < key_heads_; ++h) {
      cache().template values<relpos::native>(sequence, h).load(row, result.data() + h * dv_);
    }
    return result;
  }

  void expect_rows() {
    require(static_cast<bool>(cache().check()), "the cache is valid");
    for (index_t s = 0; s < sequences_; ++s) {
      require(lengths_[at(s)] == length(s), "lengths are the model's");
      if (Kind == kind::ring) {
        require(std::max(oldest_[at(s)], sinks_) == evicted_[at(s)],
                "evicted rows are the model's");
      }
      for (index_t row = 0; row < length(s); ++row) {
        if (!is_resident(s, row)) continue;
        require(read_keys(s, row) == rows_[at(s)][at(row)].keys &&
                    read_values(s, row) == rows_[at(s)][at(row)].values,
                "rows stay what they are");
      }
    }
  }

  void truncate(index_t sequence) {
    const index_t rows = bytes_.ConsumeIntegralInRange<index_t>(-1, length(sequence) + 1);
    const auto before = image();
    const index_t rewindable = relpos::rewindable_rows(cache(), sequence);
    const relpos::status done = [&] {
      if constexpr (Kind == kind::paged) return pool_.truncate(cache(), sequence, rows);
      return relpos::truncate(cache(), sequence, rows);
    }();
    bool is_allowed = 0 <= rows && rows <= length(sequence);
    if (Kind == kind::ring && is_allowed && rows > sinks_ && rows < length(sequence)) {
      // The window of the next row, at `rows`, must be there.
      const index_t seen = window_ > 0 ? window_ : slab_rows_ - sinks_;
      const index_t first = std::max(rows - seen + 1, sinks_);
      is_allowed = evicted_[at(sequence)] <= first;
    }
    require(static_cast<bool>(done) == is_allowed, "rows are removed where they may be",
            done.message);
    require(!done || rows <= sinks_ || rows == length(sequence) ||
                length(sequence) - rows <= rewindable,
            "rewindable_rows tells the limit");
    if (!done) {
      require(done.message[0] != 0 && image() == before, "a refused truncation changes nothing");
      return;
    }
    rows_[at(sequence)].resize(at(rows));
    evicted_[at(sequence)] = std::min(evicted_[at(sequence)], std::max(rows, sinks_));
  }

  void fork(index_t from) {
    const index_t to = bytes_.ConsumeIntegralInRange<index_t>(0, sequences_);
    const auto before = image();
    const relpos::status done = pool_.fork(cache(), from, to);
    if (!done) {
      require(done.message[0] != 0 && image() == before, "a refused fork changes nothing");
      return;
    }
    require(from != to && to < sequences_ && length(to) == 0, "a fork has its own sequence");
    rows_[at(to)] = rows_[at(from)];
  }

  void attend() {
    const index_t queries = bytes_.ConsumeIntegralInRange(0, 4);
    const std::array<index_t, 4> q_shape{sequences_, heads_, queries, d_};
    exact_tensor<float> q(q_shape, fuzzing::any_strides(bytes_, q_shape, false));
    q.fill(numbers_);
    const std::array<index_t, 4> out_shape{sequences_, heads_, queries, dv_};
    exact_tensor<float> out(out_shape, fuzzing::any_strides(bytes_, out_shape, true));
    exact_array<float> slopes(at(heads_));
    for (float& slope : slopes) slope = 0.2f * numbers_.next();
    relpos::options opts;
    require(q.fits && out.fits && keys_.fits && values_.fits, "tensors have memory");
    opts.kernel = static_cast<relpos::kernel_class>(bytes_.ConsumeIntegralInRange(0, 2));
    if (bytes_.ConsumeBool()) opts.softcap = 3.0f;
    opts.key_offset = bytes_.ConsumeIntegralInRange(-3, 3);
    const auto before = image();
    const auto out_before = out.memory.image();
    const auto call =
        relpos::prepare(relpos::serial{}, relpos::view<float, 4>(out.data, out.shape, out.strides),
                        relpos::view<const float, 4>(q.data, q.shape, q.strides), cache(),
                        relpos::alibi(std::span<const float>(slopes.data(), slopes.size())),
                        relpos::causal{}, opts);
    exact_array<std::byte> memory(call.workspace_bytes());
    const relpos::status done = call.run(relpos::serial{}, {memory.data(), memory.bytes()});
    require(image() == before, "attention changes no cache");
    if (!done) {
      require(done.message[0] != 0 && out.memory.is(out_before), "a refused call writes nothing");
      require(Kind == kind::ring && window_ > 0 && queries > 0,
              "calls over a cache are made unless a window is gone", done.message);
      return;
    }
    for (index_t s = 0; s < sequences_; ++s) {
      for (index_t h = 0; h < heads_; ++h) {
        for (index_t i = 0; i < queries; ++i)
          expect_definition(q, out, slopes, opts, s, h, i, queries);
      }
    }
  }

  void expect_definition(const exact_tensor<float>& q, const exact_tensor<float>& out,
                         const exact_array<float>& slopes, const relpos::options& opts, index_t s,
                         index_t h, index_t i, index_t queries) const {
    const index_t kh = h / (heads_ / key_heads_);
    const index_t query_row = length(s) - queries + i;
    std::vector<double> scores;
    std::vector<const float*> values;
    double top = -INFINITY;
    for (index_t row = 0; row <= query_row; ++row) {
      if (!is_resident(s, row)) continue;
      if (window_ > 0 && row >= sinks_ && row <= query_row - window_) continue;
      const model_row& stored_row = rows_[at(s)][at(row)];
      double score = 0.0;
      for (index_t c = 0; c < d_; ++c) {
        score += static_cast<double>(q(s, h, i, c)) *
                 static_cast<double>(stored_row.keys[at(kh * d_ + c)]);
      }
      score /= std::sqrt(static_cast<double>(d_));
      if (opts.softcap > 0.0f) score = 3.0 * std::tanh(score / 3.0);
      score += static_cast<double>(slopes[at(h)]) * static_cast<double>(row - query_row);
      scores.push_back(score);
      values.push_back(stored_row.values.data() + kh * dv_);
      top = std::max(top, score);
    }
    double sum = 0.0;
    for (double& score : scores) sum += score = std::exp(score - top);
    for (index_t c = 0; c < dv_; ++c) {
      double wanted = 0.0;
      for (std::size_t j = 0; j < scores.size(); ++j) {
        wanted += scores[j] / sum * static_cast<double>(values[j][c]);
      }
      const auto got = static_cast<double>(out(s, h, i, c));
      require(std::abs(got - wanted) <= 1e-4, "attention over a cache is that over its rows");
    }
  }

  provider& bytes_;
  index_t sequences_, key_heads_, heads_, d_, dv_, slab_rows_, pages_, blocks_, sinks_, window_;
  fuzzing::number_stream numbers_;
  exact_tensor<Stored> keys_, values_;
  exact_array<float> key_scales_, value_scales_;
  exact_array<index_t> lengths_, oldest_;
  exact_array<std::int32_t> block_table_;
  relpos::page_pool pool_;
  std::vector<std::vector<model_row>> rows_;
  std::vector<index_t> evicted_;  // the first row behind the sinks that is there
};

template <class Stored>
void fuzz_type(provider& bytes) {
  switch (bytes.ConsumeIntegralInRange(0, 2)) {
    case 0:
      return cache_under_test<Stored, kind::contiguous>(bytes).run();
    case 1:
      return cache_under_test<Stored, kind::ring>(bytes).run();
    default:
      return cache_under_test<Stored, kind::paged>(bytes).run();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  provider bytes(data, size);
  switch (bytes.ConsumeIntegralInRange(0, 4)) {
    case 0:
      fuzz_type<float>(bytes);
      break;
    case 1:
      fuzz_type<relpos::bfloat16>(bytes);
      break;
    case 2:
      fuzz_type<relpos::int8>(bytes);
      break;
    case 3:
      fuzz_type<relpos::float8_e4m3>(bytes);
      break;
    default:
      fuzz_type<relpos::int4_group<32>>(bytes);
  }
  return 0;
}
