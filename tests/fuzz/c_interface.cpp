// The C interface with any numbers in its structs. A function refuses, with a text and without
// writing anything, or writes its outputs and nothing else; attention without a cache gives what
// plain loops in float64 give. (The target caches compares rows of caches.) Memory has the sizes
// that the structs claim; a tensor that claims more than there could be has none.

#include "relpos_c.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "exact_memory.hpp"
#include "relpos/core/float8.hpp"
#include "relpos/core/int4.hpp"

namespace {

using fuzzing::exact_array;
using fuzzing::exact_tensor;
using fuzzing::number_stream;
using fuzzing::provider;
using fuzzing::require;
using relpos::bfloat16;
using relpos::float8_e4m3;
using relpos::half;
using relpos::int8;

/// Sizes that fit together.
struct sizes {
  int64_t batch, heads, key_heads, queries, keys, d, dv;

  explicit sizes(provider& bytes)
      : batch(bytes.ConsumeIntegralInRange(0, 3)),
        key_heads(bytes.ConsumeIntegralInRange(1, 2)),
        queries(bytes.ConsumeIntegralInRange(0, 9)),
        keys(bytes.ConsumeIntegralInRange(0, 12)),
        d(bytes.ConsumeIntegralInRange(1, 9)),
        dv(bytes.ConsumeIntegralInRange(0, 9)) {
    heads = key_heads * bytes.ConsumeIntegralInRange(1, 3);
    const auto longer = bytes.ConsumeIntegral<std::uint8_t>();
    if (longer % 32 == 1) keys += longer;
    if (longer % 32 == 2) queries += longer / 4;
  }
};

/// Members of structs that may be overwritten with other numbers.
struct corruption {
  std::vector<int64_t*> numbers;
  std::vector<int*> kinds;
  std::vector<float*> floats;

  void add(relpos_tensor& tensor) {
    for (int64_t& extent : tensor.shape) numbers.push_back(&extent);
    for (int64_t& stride : tensor.strides) numbers.push_back(&stride);
  }
  void apply(provider& bytes) const {
    const int count = bytes.ConsumeIntegralInRange(0, 7) - 4;
    for (int i = 0; i < count; ++i) {
      const auto which = bytes.ConsumeIntegral<std::uint8_t>();
      if (which < 190 && !numbers.empty()) {
        *numbers[which % numbers.size()] = fuzzing::extreme_number(bytes);
      } else if (which < 225 && !kinds.empty()) {
        *kinds[which % kinds.size()] = bytes.ConsumeBool() ? bytes.ConsumeIntegralInRange(-2, 9)
                                                           : bytes.ConsumeIntegral<int>();
      } else if (!floats.empty()) {
        *floats[which % floats.size()] = fuzzing::extreme_float(bytes);
      }
    }
  }
};

void expect_refusal(const relpos_status& done) {
  require(done.message[0] != 0, "a refusal has a text");
  require(std::memchr(done.message, 0, sizeof done.message) != nullptr, "a text ends");
}

/// The tensor of a struct with memory, whose element type is known at run time.
class any_tensor {
 public:
  /// `type` beyond the storage types is of bytes that nobody reads.
  void place(relpos_tensor& tensor, int type, provider& bytes, number_stream& numbers) {
    type_ = type;
    const std::array<int64_t, 4> shape{tensor.shape[0], tensor.shape[1], tensor.shape[2],
                                       tensor.shape[3]};
    const std::array<int64_t, 4> strides{tensor.strides[0], tensor.strides[1], tensor.strides[2],
                                         tensor.strides[3]};
    with_type([&](auto& elements) {
      elements = std::decay_t<decltype(elements)>(shape, strides);
      elements.fill(numbers);
      tensor.data = elements.fits ? elements.data : nullptr;
      fits_ = elements.fits;
      image_ = elements.memory.image();
    });
    if (bytes.ConsumeIntegral<std::uint8_t>() == 77) tensor.data = nullptr;
  }
  bool fits() const { return fits_; }
  bool is_unchanged() const {
    bool result = true;
    with_type([&](const auto& elements) { result = elements.memory.is(image_); });
    return result;
  }
  bool has_intact_gaps() {
    bool result = true;
    with_type([&](auto& elements) { result = elements.has_intact_gaps(image_); });
    return result;
  }
  double at(int64_t b, int64_t h, int64_t row, int64_t c) const {
    double result = 0.0;
    with_type([&](const auto& elements) {
      result = static_cast<double>(static_cast<float>(elements(b, h, row, c)));
    });
    return result;
  }
  double rounding() const {
    return type_ == RELPOS_BFLOAT16 ? 0x1p-8 : type_ == RELPOS_FLOAT16 ? 0x1p-11 : 0.0;
  }

 private:
  template <class Use>
  void with_type(const Use& use) const {
    const_cast<any_tensor*>(this)->with_type(use);
  }
  template <class Use>
  void with_type(const Use& use) {
    switch (type_) {
      case RELPOS_FLOAT16:
        return use(halfs_);
      case RELPOS_BFLOAT16:
        return use(bfloat16s_);
      case RELPOS_INT8:
        return use(int8s_);
      case RELPOS_FLOAT8_E4M3:
        return use(float8s_);
      default:
        return use(floats_);
    }
  }

  int type_ = 0;
  bool fits_ = false;
  std::vector<unsigned char> image_;
  exact_tensor<float> floats_;
  exact_tensor<half> halfs_;
  exact_tensor<bfloat16> bfloat16s_;
  exact_tensor<int8> int8s_;
  exact_tensor<float8_e4m3> float8s_;
};

/// `count` numbers, or none where there could not be so many.
template <class T>
T* list_of(exact_array<T>& memory, int64_t count, std::int64_t largest = 64) {
  if (count < 0 || count > largest) return nullptr;
  memory = exact_array<T>(static_cast<std::size_t>(count));
  return memory.data();
}

float* numbers_of(exact_array<float>& memory, int64_t count, number_stream& numbers,
                  float least = -1.0f) {
  float* const result = list_of(memory, count, 4096);
  if (result == nullptr) return nullptr;
  for (float& x : memory) x = std::max(numbers.next(), least);
  return result;
}

int64_t saturated_product(int64_t a, int64_t b) {
  int64_t result = 0;
  return __builtin_mul_overflow(a, b, &result) ? std::numeric_limits<int64_t>::max() : result;
}

/// A copy of a struct that ends where struct_size says, in memory that ends there too.
template <class Struct>
class sized_struct {
 public:
  sized_struct(const Struct& full, provider& bytes) {
    std::size_t size = sizeof full;
    const auto kind = bytes.ConsumeIntegral<std::uint8_t>();
    if (kind >= 240) size = bytes.ConsumeIntegralInRange<std::size_t>(0, sizeof full + 40);
    memory_ = exact_array<unsigned char>(std::max(size, sizeof size));
    std::memset(memory_.data(), kind % 2, memory_.bytes());
    if (kind >= 254) size = std::max<std::size_t>(4097, bytes.ConsumeIntegral<std::size_t>());
    std::memcpy(memory_.data(), &full, std::min(sizeof full, memory_.bytes()));
    std::memcpy(memory_.data(), &size, sizeof size);
    is_whole_ = size >= sizeof full && size <= 4096;
  }
  Struct* get() { return reinterpret_cast<Struct*>(memory_.data()); }
  bool is_whole() const { return is_whole_; }

 private:
  exact_array<unsigned char> memory_;
  bool is_whole_ = false;
};

/// Rotations that calls use, made once.
struct rotation_kind {
  int frequencies;
  int64_t rotary_dim;
  int interleaved;
};
constexpr rotation_kind rotation_kinds[] = {
    {RELPOS_ROPE, 2, 0}, {RELPOS_ROPE, 4, 1}, {RELPOS_XPOS, 4, 0}, {RELPOS_ROPE, 8, 0}};

const relpos_rotation* rotation_of(std::size_t i) {
  static const std::array<relpos_rotation*, std::size(rotation_kinds)> made = [] {
    std::array<relpos_rotation*, std::size(rotation_kinds)> result{};
    for (std::size_t at = 0; at < result.size(); ++at) {
      const rotation_kind& kind = rotation_kinds[at];
      relpos_rotation_options options = relpos_new_rotation_options(
          static_cast<relpos_frequencies>(kind.frequencies), kind.rotary_dim);
      options.interleaved = kind.interleaved;
      const relpos_status done = relpos_make_rotation(&options, &result[at]);
      require(done.code == RELPOS_OK, "a rotation is made", done.message);
    }
    return result;
  }();
  return made[i];
}

double head_function(void* context, int64_t head, int64_t distance) {
  if (context == nullptr) return 0.0;  // a call may end before its `context`
  return *static_cast<const double*>(context) * static_cast<double>(head + 1) *
         static_cast<double>(std::clamp<int64_t>(distance, -100, 100));
}

/// A cache and its memory.
struct cache_case {
  relpos_cache cache = relpos_new_cache(RELPOS_FLOAT32, RELPOS_CONTIGUOUS);
  any_tensor keys, values;
  exact_array<float> key_scales, value_scales;
  exact_array<int64_t> lengths, oldest;
  exact_array<int32_t> block_table;
  std::vector<unsigned char> lists;  // an image of all lists

  cache_case(provider& bytes, const sizes& of, number_stream& numbers, corruption& corrupt) {
    cache.type = bytes.ConsumeIntegralInRange(0, 4);
    cache.placement = bytes.ConsumeIntegralInRange(0, 2);
    cache.sequences = of.batch;
    const int64_t rows = cache.placement == RELPOS_PAGED
                             ? bytes.ConsumeIntegralInRange(1, 5)
                             : of.keys + bytes.ConsumeIntegralInRange(0, 3);
    cache.blocks = cache.placement == RELPOS_PAGED ? (of.keys + rows - 1) / rows : 0;
    const int64_t slabs = cache.placement == RELPOS_PAGED ? of.batch * cache.blocks + 1 : of.batch;
    cache.keys = relpos_dense(nullptr, slabs, of.key_heads, rows, of.d);
    cache.values = relpos_dense(nullptr, slabs, of.key_heads, rows, of.dv);
    cache.sinks = cache.placement == RELPOS_RING ? bytes.ConsumeIntegralInRange(0, 2) : 0;
    cache.window = cache.placement == RELPOS_RING ? bytes.ConsumeIntegralInRange(0, 3) : 0;
    corrupt.add(cache.keys);
    corrupt.add(cache.values);
    for (int64_t* number : {&cache.sequences, &cache.sinks, &cache.window, &cache.blocks}) {
      corrupt.numbers.push_back(number);
    }
    corrupt.kinds.push_back(&cache.type);
    corrupt.kinds.push_back(&cache.placement);
    corrupt.apply(bytes);
    keys.place(cache.keys, cache.type, bytes, numbers);
    values.place(cache.values, cache.type, bytes, numbers);
    if (bytes.ConsumeIntegral<std::uint8_t>() != 99) {
      cache.key_scales = scales(key_scales, cache.keys, numbers);
      cache.value_scales = scales(value_scales, cache.values, numbers);
    }
    cache.lengths = list_of(lengths, cache.sequences);
    cache.oldest = list_of(oldest, cache.sequences);
    cache.block_table = list_of(block_table, saturated_product(cache.sequences, cache.blocks), 512);
    // An empty list of many blocks is no list that a caller could have.
    const int64_t slabs_now = std::clamp<int64_t>(cache.keys.shape[0], 1, 1 << 20);
    const bool is_odd = bytes.ConsumeIntegral<std::uint8_t>() >= 230;
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      lengths[i] = is_odd ? fuzzing::extreme_number(bytes)
                          : bytes.ConsumeIntegralInRange<int64_t>(0, of.keys);
      oldest[i] = is_odd ? fuzzing::extreme_number(bytes) : 0;
      if (cache.placement == RELPOS_RING && !is_odd && bytes.ConsumeBool()) {
        lengths[i] += bytes.ConsumeIntegralInRange<int64_t>(0, 50);
        oldest[i] = std::clamp<int64_t>(lengths[i] - rows, 0, lengths[i]);
      }
    }
    for (std::size_t i = 0; i < block_table.size(); ++i) {
      block_table[i] = is_odd && bytes.ConsumeBool()
                           ? bytes.ConsumeIntegral<int32_t>()
                           : static_cast<int32_t>(static_cast<int64_t>(i) % slabs_now);
    }
    lists = image();
  }

  static float* scales(exact_array<float>& memory, const relpos_tensor& of,
                       number_stream& numbers) {
    const int64_t rows =
        saturated_product(saturated_product(of.shape[0], of.shape[1]), of.shape[2]);
    return numbers_of(memory, of.shape[0] < 0 || of.shape[1] < 0 ? -1 : rows, numbers, 0.1f);
  }
  std::vector<unsigned char> image() const {
    std::vector<unsigned char> all;
    const auto append = [&](const auto& list) {
      const auto bytes = list.image();
      all.insert(all.end(), bytes.begin(), bytes.end());
    };
    append(key_scales);
    append(value_scales);
    append(lengths);
    append(oldest);
    append(block_table);
    return all;
  }
  bool is_unchanged() const {
    return keys.is_unchanged() && values.is_unchanged() && image() == lists;
  }
};

/// A call over tensors or a cache, and its memory.
struct call_case {
  relpos_call call = relpos_new_call(RELPOS_FLOAT32);
  any_tensor q, k, v, out, matrix;
  exact_array<float> bias_values, sinks, temperatures, lse, largest, entropy;
  exact_array<int64_t> query_offsets, key_offsets, query_starts, key_starts;
  double factor = 0.25;
  int rotation = -1;
  bool is_plausible = true;

  call_case(provider& bytes, const sizes& of, number_stream& numbers, cache_case* over,
            corruption& corrupt) {
    call.type = over != nullptr ? RELPOS_FLOAT32 : bytes.ConsumeIntegralInRange(0, 2);
    const bool is_ragged = of.batch > 0 && bytes.ConsumeIntegral<std::uint8_t>() % 8 == 3;
    const int64_t entries = is_ragged ? 1 : of.batch;
    set(call.q, {entries, of.heads, of.queries, of.d}, bytes, false);
    set(call.k, {entries, of.key_heads, of.keys, of.d}, bytes, false);
    set(call.v, {entries, of.key_heads, of.keys, of.dv}, bytes, false);
    set(call.out, {entries, of.heads, of.queries, of.dv}, bytes, true);
    call.mask.kind = bytes.ConsumeIntegralInRange(0, 5);
    call.mask.size = bytes.ConsumeIntegralInRange(1, 6);
    call.mask.after = bytes.ConsumeIntegralInRange(0, 3);
    call.bias.kind = bytes.ConsumeIntegralInRange(0, 4);
    call.bias.bidirectional = bytes.ConsumeBool();
    if (bytes.ConsumeBool()) {
      call.bias.num_buckets = 2 * bytes.ConsumeIntegralInRange(2, 6);
      call.bias.max_distance = bytes.ConsumeIntegralInRange(7, 40);
    }
    set(call.bias.matrix,
        {bytes.ConsumeBool() ? of.batch : 1, bytes.ConsumeBool() ? of.heads : 1,
         bytes.ConsumeBool() ? of.queries : 1, bytes.ConsumeBool() ? of.keys : 1},
        bytes, false);
    if (bytes.ConsumeBool()) {
      call.has_query_offset = 1;
      call.query_offset = bytes.ConsumeIntegralInRange(-20, 20);
    }
    if (bytes.ConsumeBool()) call.key_offset = bytes.ConsumeIntegralInRange(-20, 20);
    call.scale = bytes.ConsumeBool() ? 0.5f : 0.0f;
    call.softcap = bytes.ConsumeBool() ? 2.0f : 0.0f;
    call.temperature = bytes.ConsumeBool() ? 0.7f : 0.0f;
    if (is_ragged) call.sequences = of.batch;
    for (relpos_tensor* tensor : {&call.q, &call.k, &call.v, &call.out, &call.bias.matrix}) {
      corrupt.add(*tensor);
    }
    for (int64_t* number :
         {&call.mask.size, &call.mask.after, &call.bias.num_buckets, &call.bias.max_distance,
          &call.query_offset, &call.key_offset, &call.sequences}) {
      corrupt.numbers.push_back(number);
    }
    corrupt.kinds.insert(corrupt.kinds.end(), {&call.type, &call.mask.kind, &call.bias.kind});
    corrupt.floats.insert(corrupt.floats.end(), {&call.scale, &call.softcap, &call.temperature});
    corrupt.apply(bytes);

    q.place(call.q, call.type, bytes, numbers);
    k.place(call.k, call.type, bytes, numbers);
    v.place(call.v, call.type, bytes, numbers);
    out.place(call.out, call.type, bytes, numbers);
    matrix.place(call.bias.matrix, RELPOS_FLOAT32, bytes, numbers);
    const int64_t heads = call.q.shape[1];
    const auto extras = bytes.ConsumeIntegral<std::uint8_t>();
    if (call.bias.kind == RELPOS_ALIBI) {
      call.bias.values = numbers_of(bias_values, heads, numbers, extras % 2 ? 0.0f : -1.0f);
    } else if (call.bias.kind == RELPOS_T5) {
      const int64_t buckets = call.bias.num_buckets == 0 ? 32 : call.bias.num_buckets;
      call.bias.values = numbers_of(bias_values, saturated_product(buckets, heads), numbers);
    }
    if (call.bias.kind == RELPOS_FUNCTION && extras != 200) call.bias.function = head_function;
    call.bias.context = &factor;
    if (extras % 4 == 1) call.sink_logits = numbers_of(sinks, heads, numbers);
    if (extras / 4 % 4 == 1) call.temperatures = numbers_of(temperatures, heads, numbers, 0.5f);
    const auto outputs = bytes.ConsumeIntegral<std::uint8_t>();
    const int64_t rows = saturated_product(
        saturated_product(std::max<int64_t>(call.out.shape[0], 0), call.out.shape[1]),
        call.out.shape[2]);
    if (outputs % 2 == 0) call.lse = list_of(lse, rows, 4096);
    if (outputs / 2 % 4 == 0) call.max_probability = list_of(largest, rows, 4096);
    if (outputs / 8 % 4 == 0) call.entropy = list_of(entropy, rows, 4096);
    const int64_t listed = call.sequences != 0 ? call.sequences : call.q.shape[0];
    if (extras / 16 % 8 == 1) call.query_offsets = offsets(query_offsets, listed, bytes);
    if (extras / 16 % 8 == 2) call.key_offsets = offsets(key_offsets, listed, bytes);
    if (is_ragged) {
      call.query_starts = starts(query_starts, listed, call.q.shape[2], bytes);
      if (over == nullptr) call.key_starts = starts(key_starts, listed, call.k.shape[2], bytes);
    }
    if (bytes.ConsumeIntegral<std::uint8_t>() % 4 == 1) {
      rotation = bytes.ConsumeIntegralInRange(0, static_cast<int>(std::size(rotation_kinds)) - 1);
      call.rotation = rotation_of(static_cast<std::size_t>(rotation));
    }
    is_plausible = q.fits() && out.fits() && (over != nullptr || (k.fits() && v.fits())) &&
                   (call.bias.kind != RELPOS_MATRIX || matrix.fits());
  }

  static void set(relpos_tensor& tensor, const std::array<int64_t, 4>& shape, provider& bytes,
                  bool is_written) {
    const auto strides = fuzzing::any_strides(bytes, shape, is_written);
    for (std::size_t axis = 0; axis < 4; ++axis) {
      tensor.shape[axis] = shape[axis];
      tensor.strides[axis] = strides[axis];
    }
  }
  static int64_t* offsets(exact_array<int64_t>& memory, int64_t count, provider& bytes) {
    int64_t* const result = list_of(memory, count);
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = bytes.ConsumeIntegral<std::uint8_t>() < 250 ? bytes.ConsumeIntegralInRange(-9, 30)
                                                              : fuzzing::extreme_number(bytes);
    }
    return result;
  }
  static int64_t* starts(exact_array<int64_t>& memory, int64_t count, int64_t rows,
                         provider& bytes) {
    if (count < 0 || count > 63) return nullptr;
    int64_t* const result = list_of(memory, count + 1);
    int64_t row = 0;
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = row;
      row = std::min(rows, row + bytes.ConsumeIntegralInRange(0, 7));
    }
    if (memory.size() > 1 && bytes.ConsumeIntegral<std::uint8_t>() < 250)
      memory[memory.size() - 1] = rows;
    return result;
  }
  bool outputs_are_nan() const {
    const auto is_nan = [](const exact_array<float>& list) {
      return std::all_of(list.data(), list.data() + list.size(), [](float x) { return x != x; });
    };
    return is_nan(lse) && is_nan(largest) && is_nan(entropy);
  }
};

/// The definition of attention, one row at a time.
struct definition {
  const call_case& of;
  const relpos_call& call = of.call;

  bool sees(int64_t q_pos, int64_t k_pos) const {
    const int64_t size = call.mask.size;
    const auto block_of = [&](int64_t position) {
      return position >= 0 ? position / size : -((size - 1 - position) / size);
    };
    switch (call.mask.kind) {
      case RELPOS_CAUSAL:
        return k_pos <= q_pos;
      case RELPOS_SLIDING_WINDOW:
        return k_pos <= q_pos && q_pos - k_pos < size;
      case RELPOS_BAND:
        return q_pos - k_pos <= size && k_pos - q_pos <= call.mask.after;
      case RELPOS_BLOCKWISE_CAUSAL:
        return k_pos <= q_pos && k_pos >= std::max<int64_t>((block_of(q_pos) - 1) * size, 0);
      case RELPOS_CHUNKED_CAUSAL:
        return k_pos <= q_pos && block_of(k_pos) == block_of(q_pos);
      default:
        return true;
    }
  }

  int64_t bucket(int64_t distance) const {
    int64_t buckets = call.bias.num_buckets == 0 ? 32 : call.bias.num_buckets;
    const int64_t farthest = call.bias.max_distance == 0 ? 128 : call.bias.max_distance;
    int64_t first = 0;
    int64_t n = -distance;
    if (call.bias.bidirectional) {
      buckets /= 2;
      if (distance > 0) first = buckets;
      n = std::abs(distance);
    }
    n = std::max<int64_t>(n, 0);
    const int64_t exact = buckets / 2;
    if (n < exact) return first + n;
    const double log = std::log(static_cast<double>(n) / static_cast<double>(exact)) /
                       std::log(static_cast<double>(farthest) / static_cast<double>(exact));
    return first +
           std::min(buckets - 1, exact + static_cast<int64_t>(
                                             log * static_cast<double>(buckets - exact) + 1e-9));
  }

  double bias(int64_t b, int64_t h, int64_t row, int64_t key, int64_t distance) const {
    switch (call.bias.kind) {
      case RELPOS_ALIBI:
        return static_cast<double>(call.bias.values[h]) * static_cast<double>(distance);
      case RELPOS_T5:
        return static_cast<double>(call.bias.values[bucket(distance) * call.q.shape[1] + h]);
      case RELPOS_FUNCTION:
        return head_function(call.bias.context, h, distance);
      case RELPOS_MATRIX: {
        const int64_t* const shape = call.bias.matrix.shape;
        return of.matrix.at(shape[0] == 1 ? 0 : b, shape[1] == 1 ? 0 : h, shape[2] == 1 ? 0 : row,
                            shape[3] == 1 ? 0 : key);
      }
      default:
        return 0.0;
    }
  }

  /// The product of a query and a key, whose channels rotate.
  template <class Key>
  double product(int64_t entry, int64_t h, int64_t q_row, const Key& key, int64_t distance) const {
    const int64_t d = call.q.shape[3];
    double sum = 0.0;
    int64_t rotated = 0;
    if (of.rotation >= 0) {
      const rotation_kind& kind = rotation_kinds[of.rotation];
      rotated = kind.rotary_dim;
      const int64_t pairs = rotated / 2;
      for (int64_t i = 0; i < pairs; ++i) {
        const int64_t first = kind.interleaved ? 2 * i : i;
        const int64_t second = kind.interleaved ? first + 1 : first + pairs;
        const double part = 2.0 * static_cast<double>(i) / static_cast<double>(rotated);
        const double angle = static_cast<double>(distance) * std::pow(10000.0, -part);
        const double size =
            kind.frequencies == RELPOS_XPOS
                ? std::pow((part + 0.4) / 1.4, -static_cast<double>(distance) / 512.0)
                : 1.0;
        const double qa = of.q.at(entry, h, q_row, first), qb = of.q.at(entry, h, q_row, second);
        const double ka = key(first), kb = key(second);
        // The key is turned by the distance.
        sum += size * (qa * (ka * std::cos(angle) - kb * std::sin(angle)) +
                       qb * (ka * std::sin(angle) + kb * std::cos(angle)));
      }
    }
    for (int64_t c = rotated; c < d; ++c) sum += of.q.at(entry, h, q_row, c) * key(c);
    return sum;
  }
};

/// Where the rows of a sequence are.
struct sequence_rows {
  int64_t entry, first_query, queries, first_key, keys;
};

/// Compares the outputs of a call over tensors with the definition.
void expect_definition(call_case& of) {
  const relpos_call& call = of.call;
  const bool is_ragged = call.query_starts != nullptr || call.key_starts != nullptr;
  const int64_t sequences = is_ragged ? call.sequences : call.q.shape[0];
  const int64_t heads = call.q.shape[1], key_heads = call.k.shape[1];
  const int64_t queries = call.q.shape[2], dv = call.v.shape[3];
  const definition means{of};
  for (int64_t s = 0; s < sequences; ++s) {
    sequence_rows rows{is_ragged ? 0 : s, 0, queries, 0, call.k.shape[2]};
    int64_t key_entry = s;
    if (call.query_starts != nullptr) {
      rows.first_query = call.query_starts[s];
      rows.queries = call.query_starts[s + 1] - rows.first_query;
    }
    if (call.key_starts != nullptr) {
      key_entry = 0;
      rows.first_key = call.key_starts[s];
      rows.keys = call.key_starts[s + 1] - rows.first_key;
    }
    const int64_t query_entry = call.query_starts != nullptr ? 0 : s;
    const int64_t k_first = call.key_offsets != nullptr ? call.key_offsets[s] : call.key_offset;
    const int64_t q_first = call.query_offsets != nullptr ? call.query_offsets[s]
                            : call.has_query_offset       ? call.query_offset
                                                          : k_first + rows.keys - rows.queries;
    if (std::abs(q_first - k_first) > 100000) continue;
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t kh = h / (heads / key_heads);
      const double temperature = call.temperatures != nullptr
                                     ? static_cast<double>(call.temperatures[h])
                                 : call.temperature == 0.0f ? 1.0
                                                            : static_cast<double>(call.temperature);
      const double scale = call.scale != 0.0f ? static_cast<double>(call.scale)
                           : call.bias.kind == RELPOS_T5
                               ? 1.0
                               : 1.0 / std::sqrt(static_cast<double>(call.q.shape[3]));
      const auto softcap = static_cast<double>(call.softcap);
      for (int64_t i = 0; i < rows.queries; ++i) {
        const int64_t q_row = rows.first_query + i;
        std::vector<double> scores(static_cast<std::size_t>(rows.keys), -INFINITY);
        double top =
            call.sink_logits == nullptr ? -INFINITY : static_cast<double>(call.sink_logits[h]);
        double size = 1.0;
        for (int64_t j = 0; j < rows.keys; ++j) {
          if (!means.sees(q_first + i, k_first + j)) continue;
          const int64_t distance = k_first + j - q_first - i;
          const auto key = [&](int64_t c) { return of.k.at(key_entry, kh, rows.first_key + j, c); };
          double score = scale * means.product(query_entry, h, q_row, key, distance);
          if (softcap > 0) score = softcap * std::tanh(score / softcap);
          score = (score + means.bias(s, h, i, j, distance)) / temperature;
          scores[static_cast<std::size_t>(j)] = score;
          top = std::max(top, score);
          size = std::max(size, std::abs(score));
        }
        // Beyond this, float32 has too few digits of a score.
        if (!(size < 1e4)) continue;
        double sum = call.sink_logits == nullptr || top == -INFINITY
                         ? 0.0
                         : std::exp(static_cast<double>(call.sink_logits[h]) - top);
        double largest = 0.0, dot = 0.0;
        for (double& score : scores) {
          score = score == -INFINITY ? 0.0 : std::exp(score - top);
          sum += score;
        }
        for (const double weight : scores) {
          if (weight == 0.0) continue;
          largest = std::max(largest, weight / sum);
          dot -= weight / sum * std::log(weight / sum);
        }
        const double tolerance = 1e-5 * size;
        const auto is_near = [&](double got, double wanted, double slack, const char* name) {
          if (std::abs(got - wanted) <= slack || got == wanted) return;
          std::fprintf(stderr, "sequence %lld head %lld row %lld: %s is %.9g, must be %.9g\n",
                       static_cast<long long>(s), static_cast<long long>(h),
                       static_cast<long long>(i), name, got, wanted);
          require(false, "results equal the definition");
        };
        for (int64_t c = 0; c < dv; ++c) {
          double wanted = 0.0;
          for (int64_t j = 0; j < rows.keys; ++j) {
            const double weight = scores[static_cast<std::size_t>(j)];
            if (weight != 0.0)
              wanted += weight / sum * of.v.at(key_entry, kh, rows.first_key + j, c);
          }
          is_near(of.out.at(query_entry, h, q_row, c), wanted, tolerance + of.out.rounding(),
                  "out");
        }
        const auto place = static_cast<std::size_t>((query_entry * heads + h) * queries + q_row);
        if (call.lse != nullptr) {
          is_near(static_cast<double>(of.lse[place]), sum == 0.0 ? top : top + std::log(sum),
                  tolerance, "lse");
        }
        if (call.max_probability != nullptr) {
          is_near(static_cast<double>(of.largest[place]), largest, tolerance, "max_probability");
        }
        if (call.entropy != nullptr) {
          is_near(static_cast<double>(of.entropy[place]), dot, 10.0 * tolerance, "entropy");
        }
      }
    }
  }
}

void fuzz_attention(provider& bytes, bool over_cache) {
  const sizes of(bytes);
  number_stream numbers(bytes.ConsumeIntegral<std::uint8_t>());
  corruption corrupt_cache, corrupt_call;
  std::unique_ptr<cache_case> cached;
  std::unique_ptr<sized_struct<relpos_cache>> cache;
  if (over_cache) {
    cached = std::make_unique<cache_case>(bytes, of, numbers, corrupt_cache);
    cache = std::make_unique<sized_struct<relpos_cache>>(cached->cache, bytes);
  }
  call_case each(bytes, of, numbers, cached.get(), corrupt_call);
  if (over_cache) each.call.cache = cache->get();
  sized_struct<relpos_call> call(each.call, bytes);
  const bool is_whole = call.is_whole() && (!over_cache || cache->is_whole());

  relpos_team team{0, 1, nullptr, nullptr};
  const bool has_team = bytes.ConsumeIntegral<std::uint8_t>() % 8 == 1;
  if (has_team && bytes.ConsumeBool()) team.threads = fuzzing::extreme_number(bytes);
  if (has_team && bytes.ConsumeBool()) team.thread = fuzzing::extreme_number(bytes);
  // One of several threads would wait for the others.
  const bool is_alone = team.threads <= 1 || team.thread < 0 || team.thread >= team.threads;
  const std::size_t needed = relpos_workspace_bytes(call.get(), team.threads);
  const bool has_room =
      is_alone && needed <= 1 << 20 && bytes.ConsumeIntegral<std::uint8_t>() < 250;
  const std::size_t given = has_room ? needed : std::min<std::size_t>(needed, 64) / 2;
  exact_array<unsigned char> workspace(given);
  const relpos_status done =
      relpos_attention(call.get(), workspace.data(), given, has_team ? &team : nullptr);
  if (done.code != RELPOS_OK) {
    expect_refusal(done);
    require(each.out.is_unchanged() && each.outputs_are_nan(), "a refused call writes nothing",
            done.message);
    require(!over_cache || cached->is_unchanged(), "a refused call leaves a cache", done.message);
    require(
        std::all_of(workspace.begin(), workspace.end(), [](unsigned char x) { return x == 0xff; }),
        "a refused call leaves the workspace", done.message);
    return;
  }
  require(done.message[0] == 0, "success has no text");
  require(each.out.has_intact_gaps(), "only elements are written");
  require(!over_cache || cached->is_unchanged(), "attention leaves a cache");
  if (is_whole && !over_cache && each.is_plausible) expect_definition(each);
}

void fuzz_append(provider& bytes) {
  sizes of(bytes);
  number_stream numbers(bytes.ConsumeIntegral<std::uint8_t>());
  corruption corrupt_cache, corrupt_rows;
  cache_case cached(bytes, of, numbers, corrupt_cache);
  relpos_tensor k{}, v{};
  const int64_t rows = bytes.ConsumeIntegralInRange(0, 4);
  call_case::set(k, {of.batch, of.key_heads, rows, of.d}, bytes, false);
  call_case::set(v, {of.batch, of.key_heads, rows, of.dv}, bytes, false);
  corrupt_rows.add(k);
  corrupt_rows.add(v);
  corrupt_rows.apply(bytes);
  any_tensor new_keys, new_values;
  new_keys.place(k, RELPOS_FLOAT32, bytes, numbers);
  new_values.place(v, RELPOS_FLOAT32, bytes, numbers);
  sized_struct<relpos_cache> cache(cached.cache, bytes);
  const int64_t key_offset = bytes.ConsumeBool() ? fuzzing::extreme_number(bytes) : 0;
  const relpos_rotation* const rotation =
      bytes.ConsumeBool()
          ? rotation_of(bytes.ConsumeIntegralInRange<std::size_t>(0, std::size(rotation_kinds) - 1))
          : nullptr;
  const auto absent = bytes.ConsumeIntegral<std::uint8_t>();
  const relpos_status done =
      relpos_append(absent == 7 ? nullptr : cache.get(), absent == 8 ? nullptr : &k,
                    absent == 9 ? nullptr : &v, rotation, key_offset);
  if (done.code != RELPOS_OK) {
    expect_refusal(done);
    require(cached.is_unchanged(), "a refused append writes nothing", done.message);
    return;
  }
  require(cached.keys.has_intact_gaps() && cached.values.has_intact_gaps(),
          "only rows are written");
}

void fuzz_truncate(provider& bytes) {
  const sizes of(bytes);
  number_stream numbers(bytes.ConsumeIntegral<std::uint8_t>());
  corruption corrupt;
  cache_case cached(bytes, of, numbers, corrupt);
  sized_struct<relpos_cache> cache(cached.cache, bytes);
  const int64_t sequence = bytes.ConsumeBool() ? fuzzing::extreme_number(bytes) : 0;
  const int64_t length =
      bytes.ConsumeBool() ? fuzzing::extreme_number(bytes) : bytes.ConsumeIntegralInRange(0, 12);
  const relpos_status done = relpos_truncate(cache.get(), sequence, length);
  if (done.code != RELPOS_OK) {
    expect_refusal(done);
    require(cached.is_unchanged(), "a refused truncation writes nothing", done.message);
    return;
  }
  require(cached.lengths[static_cast<std::size_t>(sequence)] == length,
          "truncation sets the length");
  require(cached.keys.is_unchanged() && cached.values.is_unchanged(), "truncation leaves rows");
}

void fuzz_rotation(provider& bytes) {
  relpos_rotation_options options = relpos_new_rotation_options(RELPOS_ROPE, 4);
  options.frequencies = bytes.ConsumeIntegralInRange(-1, 7);
  options.rotary_dim =
      bytes.ConsumeBool() ? fuzzing::extreme_number(bytes) : bytes.ConsumeIntegralInRange(-2, 16);
  // More than a few channels only take time.
  if (options.rotary_dim > 64 && options.rotary_dim <= 1 << 20) options.rotary_dim = 64;
  options.interleaved = bytes.ConsumeIntegralInRange(-1, 2);
  const auto number = [&] {
    return bytes.ConsumeBool() ? static_cast<double>(fuzzing::extreme_float(bytes))
                               : bytes.ConsumeFloatingPoint<double>();
  };
  options.base = number();
  options.factor = number();
  options.train_length = bytes.ConsumeBool() ? fuzzing::extreme_number(bytes) : 512;
  sized_struct<relpos_rotation_options> given(options, bytes);
  relpos_rotation* rotation = nullptr;
  const auto absent = bytes.ConsumeIntegral<std::uint8_t>();
  const relpos_status done =
      relpos_make_rotation(absent == 3 ? nullptr : given.get(), absent == 4 ? nullptr : &rotation);
  require((done.code == RELPOS_OK) == (rotation != nullptr), "a rotation is made or refused");
  if (done.code != RELPOS_OK) expect_refusal(done);
  relpos_free_rotation(rotation);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  provider bytes(data, size);
  switch (bytes.ConsumeIntegralInRange(0, 15)) {
    case 0:
      fuzz_rotation(bytes);
      break;
    case 1:
    case 2:
      fuzz_truncate(bytes);
      break;
    case 3:
    case 4:
    case 5:
      fuzz_append(bytes);
      break;
    case 6:
    case 7:
    case 8:
      fuzz_attention(bytes, true);
      break;
    default:
      fuzz_attention(bytes, false);
  }
  return 0;
}
