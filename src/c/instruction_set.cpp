// The functions of the C interface for the instruction set of this file's flags: they make views,
// caches, policies and options of the structs of relpos_c.h, and call the library with them.
// RELPOS_C_SET names the set.

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <optional>

#include "c/functions.hpp"
#include "c/policies.hpp"
#include "relpos/attention.hpp"
#include "relpos/caches.hpp"

namespace relpos::inline RELPOS_ABI::c_interface {
namespace {

static_assert(RELPOS_INVALID_SHAPE == static_cast<int>(status_code::invalid_shape));
static_assert(RELPOS_INVALID_STRIDE == static_cast<int>(status_code::invalid_stride));
static_assert(RELPOS_NULL_DATA == static_cast<int>(status_code::null_data));
static_assert(RELPOS_OVERLAP == static_cast<int>(status_code::overlap));
static_assert(RELPOS_WORKSPACE_TOO_SMALL == static_cast<int>(status_code::workspace_too_small));
static_assert(RELPOS_INVALID_VALUE == static_cast<int>(status_code::invalid_value));
static_assert(RELPOS_DEVICE_FAILURE == static_cast<int>(status_code::device));
static_assert(sizeof(relpos_status::message) == status::message_capacity);

relpos_status c_status(const status& done) {
  relpos_status result;
  result.code = static_cast<relpos_code>(done.code);
  std::memcpy(result.message, done.message, sizeof result.message);
  return result;
}

/// Refuses an enumeration of another version.
status check_kind(const char* name, int kind, int last) {
  if (0 <= kind && kind <= last) return {};
  return status::error(status_code::invalid_value, "%s: is %d, must be 0 to %d", name, kind, last);
}

/// Larger than the structs of any version, and small enough to tell a size from other numbers.
constexpr std::size_t max_struct_size = 4096;

/// Copies a struct of a caller, whose version may be another.
template <class Struct>
status copy_struct(const char* name, const Struct* given, Struct& copy) {
  static_assert(sizeof(Struct) <= max_struct_size);
  if (given == nullptr) return status::error(status_code::null_data, "%s: is null", name);
  const std::size_t size = given->struct_size;
  // The size of a struct of any version is a multiple of its alignment; others would cut a pointer.
  if (size < sizeof size || size > max_struct_size || size % alignof(Struct) != 0) {
    return status::error(status_code::invalid_value,
                         "%s.struct_size: is %zu, a function relpos_new_... sets it", name, size);
  }
  std::memset(&copy, 0, sizeof copy);
  std::memcpy(&copy, given, std::min(size, sizeof copy));
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  if (size > sizeof copy && std::any_of(bytes + sizeof copy, bytes + size,
                                        [](unsigned char byte) { return byte != 0; })) {
    return status::error(status_code::invalid_value,
                         "%s.struct_size: is %zu with a member that is set behind the %zu bytes "
                         "that this library knows",
                         name, size, sizeof copy);
  }
  return {};
}

std::array<index_t, 4> four(const int64_t (&numbers)[4]) {
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}
template <class T>
view<T, 4> view_of(const relpos_tensor& tensor) {
  return {static_cast<T*>(tensor.data), four(tensor.shape), four(tensor.strides)};
}

std::span<const int64_t> list(const int64_t* numbers, int64_t count) {
  return {numbers, numbers == nullptr ? 0 : static_cast<std::size_t>(std::max<int64_t>(count, 0))};
}

struct call_barrier {
  void (*barrier)(void* context);
  void* context;

  void operator()() const {
    if (barrier != nullptr) barrier(context);
  }
};
using team = team_member<call_barrier>;

team team_of(const relpos_team* given) {
  if (given == nullptr) return {0, 1, call_barrier{}};
  return {given->thread, given->threads, call_barrier{given->barrier, given->context}};
}

/// What is to be done with a call: tell its bytes of workspace, or run.
struct purpose {
  team runner;
  std::size_t* bytes = nullptr;
  workspace memory{};
};

options options_of(const relpos_call& call) {
  options result;
  const bool is_t5 = call.bias.kind == RELPOS_T5;
  if (call.scale != 0.0f) {
    result.scale = call.scale;
  } else if (is_t5) {
    result.scale = t5_bias::default_scale;
  }
  result.softcap = call.softcap;
  if (call.has_query_offset) result.query_offset = call.query_offset;
  result.key_offset = call.key_offset;
  const int64_t sequences =
      std::min<int64_t>(call.sequences != 0 ? call.sequences : call.q.shape[0], max_length);
  result.query_offsets = list(call.query_offsets, sequences);
  result.key_offsets = list(call.key_offsets, sequences);
  result.query_starts = list(call.query_starts, sequences + 1);
  result.key_starts = list(call.key_starts, sequences + 1);
  const auto rows = [&](float* numbers) -> std::optional<view<float, 3>> {
    if (numbers == nullptr) return {};
    return view<float, 3>(numbers, {call.out.shape[0], call.out.shape[1], call.out.shape[2]});
  };
  result.lse = rows(call.lse);
  result.statistics.max_probability = rows(call.max_probability);
  result.statistics.entropy = rows(call.entropy);
  return result;
}

// A relpos_rotation is a rotary_table, whose type would tell the instruction set.

/// Calls use(rotation...) with the rotation of a call, if it has one.
template <class Use>
status with_rotation(const relpos_rotation* rotation, const Use& use) {
  if (rotation == nullptr) return use();
  return use(rotary{*reinterpret_cast<const rotary_table*>(rotation)});
}

/// Calls use(bias...) with the bias of a call over tensors.
template <class Use>
status with_bias(const relpos_call& call, const Use& use) {
  const index_t heads = call.q.shape[1];
  switch (call.bias.kind) {
    case RELPOS_ALIBI:
      return use(any_slopes{call.bias.values, heads});
    case RELPOS_T5:
    case RELPOS_FUNCTION:
      return use(any_table(call.bias, heads));
    case RELPOS_MATRIX:
      return use(additive_bias(view_of<const float>(call.bias.matrix)));
    default:
      return use();
  }
}

/// The same over a cache, where reading rows takes longer than a slope of 0.
template <class Use>
status with_bias_over_cache(const relpos_call& call, const Use& use) {
  const index_t heads = call.q.shape[1];
  switch (call.bias.kind) {
    case RELPOS_T5:
    case RELPOS_FUNCTION:
      return use(any_table(call.bias, heads));
    case RELPOS_MATRIX:
      return status::error(
          status_code::invalid_value,
          "call.bias.kind: is RELPOS_MATRIX, which calls over a cache do not have");
    default:
      return use(any_slopes{call.bias.kind == RELPOS_ALIBI ? call.bias.values : nullptr, heads});
  }
}

template <class Out, class... Arguments>
status finish(const purpose& with, const relpos_call& call, const Arguments&... arguments) {
  const index_t heads = call.q.shape[1];
  const any_temperature temperature{call.temperatures, heads,
                                    call.temperature == 0.0f ? 1.0f : call.temperature};
  const auto prepared = prepare(with.runner, view_of<Out>(call.out), view_of<const Out>(call.q),
                                arguments..., any_mask{call.mask}, temperature,
                                any_sinks{call.sink_logits, heads}, options_of(call));
  if (with.bytes != nullptr) {
    *with.bytes = prepared.workspace_bytes();
    return prepared.valid();
  }
  return prepared.run(with.runner, with.memory);
}

template <class T>
status attend_tensors(const purpose& with, const relpos_call& call) {
  return with_bias(call, [&](const auto&... bias) {
    return with_rotation(call.rotation, [&](const auto&... rotation) {
      return finish<T>(with, call, view_of<const T>(call.k), view_of<const T>(call.v), bias...,
                       rotation...);
    });
  });
}

/// Calls use(kv_cache) with the cache that a struct describes.
template <class Stored, class Use>
status with_placement(const relpos_cache& cache, const Use& use) {
  cache_memory<Stored> memory{view_of<Stored>(cache.keys), view_of<Stored>(cache.values)};
  if constexpr (storage_traits<Stored>::is_scaled) {
    const auto scales = [](float* numbers, const relpos_tensor& rows) {
      return view<float, 3>(numbers, {rows.shape[0], rows.shape[1], rows.shape[2]});
    };
    memory.key_scales = scales(cache.key_scales, cache.keys);
    memory.value_scales = scales(cache.value_scales, cache.values);
  }
  const auto sequences = static_cast<std::size_t>(std::max<int64_t>(cache.sequences, 0));
  const std::span<index_t> lengths(cache.lengths, sequences);
  switch (cache.placement) {
    case RELPOS_RING:
      return use(ring_cache<Stored>{
          memory, lengths, {{cache.oldest, sequences}, cache.sinks, cache.window}});
    case RELPOS_PAGED:
      return use(paged_cache<Stored>{
          memory, lengths, {{cache.block_table, {cache.sequences, cache.blocks}}}});
    default:
      return use(contiguous_cache<Stored>{memory, lengths});
  }
}

/// Refuses numbers of sequences whose lists of one more number could not be counted.
status check_sequence_count(const char* name, int64_t sequences) {
  if (0 <= sequences && sequences <= max_length) return {};
  return status::error(status_code::invalid_value, "%s.sequences: is %lld, must be 0 to 2^31 - 1",
                       name, static_cast<long long>(sequences));
}

template <class Use>
status with_cache(const relpos_cache* given, const Use& use) {
  relpos_cache cache;
  if (status valid = copy_struct("cache", given, cache); !valid) return valid;
  if (status valid = check_kind("cache.type", cache.type, RELPOS_FLOAT8_E4M3); !valid) return valid;
  if (status valid = check_kind("cache.placement", cache.placement, RELPOS_PAGED); !valid) {
    return valid;
  }
  if (status valid = check_sequence_count("cache", cache.sequences); !valid) return valid;
  const bool needs_oldest = cache.placement == RELPOS_RING;
  if (cache.sequences > 0 &&
      (cache.lengths == nullptr || (needs_oldest && cache.oldest == nullptr))) {
    return status::error(status_code::null_data, "cache.%s: is null, must have %lld numbers",
                         cache.lengths == nullptr ? "lengths" : "oldest",
                         static_cast<long long>(cache.sequences));
  }
  switch (cache.type) {
    case RELPOS_FLOAT16:
      return with_placement<half>(cache, use);
    case RELPOS_BFLOAT16:
      return with_placement<bfloat16>(cache, use);
    case RELPOS_INT8:
      return with_placement<int8>(cache, use);
    case RELPOS_FLOAT8_E4M3:
      return with_placement<float8_e4m3>(cache, use);
    default:
      return with_placement<float>(cache, use);
  }
}

status attend_cache(const purpose& with, const relpos_call& call) {
  return with_cache(call.cache, [&](const auto& cache) {
    return with_bias_over_cache(call, [&](const auto& bias) {
      return with_rotation(call.rotation, [&](const auto&... rotation) {
        return finish<float>(with, call, cache, bias, rotation...);
      });
    });
  });
}

status attend(const purpose& with, const relpos_call* given) {
  relpos_call call;
  if (status valid = copy_struct("call", given, call); !valid) return valid;
  const int last_type = call.cache == nullptr ? RELPOS_BFLOAT16 : RELPOS_FLOAT32;
  if (status valid = check_kind("call.type", call.type, last_type); !valid) return valid;
  if (status valid = check_kind("call.mask.kind", call.mask.kind, RELPOS_CHUNKED_CAUSAL); !valid) {
    return valid;
  }
  if (status valid = check_kind("call.bias.kind", call.bias.kind, RELPOS_MATRIX); !valid) {
    return valid;
  }
  if (status valid = check_sequence_count("call", call.sequences); !valid) return valid;
  if (call.bias.kind == RELPOS_FUNCTION && call.bias.function == nullptr) {
    return status::error(status_code::null_data, "call.bias.function: is null");
  }
  if (call.bias.kind == RELPOS_ALIBI && call.bias.values == nullptr) {
    return status::error(status_code::null_data,
                         "call.bias.values: are null, must be slopes of %lld heads",
                         static_cast<long long>(call.q.shape[1]));
  }
  if (call.cache != nullptr) return attend_cache(with, call);
  switch (call.type) {
    case RELPOS_FLOAT16:
      return attend_tensors<half>(with, call);
    case RELPOS_BFLOAT16:
      return attend_tensors<bfloat16>(with, call);
    default:
      return attend_tensors<float>(with, call);
  }
}

rotary_frequencies frequencies_of(const relpos_rotation_options& options) {
  const double usual_base = options.frequencies == RELPOS_LLAMA3 ? 500000.0 : 10000.0;
  const double base = options.base == 0.0 ? usual_base : options.base;
  const double factor = options.factor == 0.0 ? 1.0 : options.factor;
  switch (options.frequencies) {
    case RELPOS_LINEAR:
      return linear_frequencies(options.rotary_dim, factor, base);
    case RELPOS_NTK:
      return ntk_frequencies(options.rotary_dim, factor, base);
    case RELPOS_YARN:
      return yarn_frequencies(options.rotary_dim, factor, options.train_length, base);
    case RELPOS_LLAMA3:
      return llama3_frequencies(options.rotary_dim, factor, options.train_length, base);
    case RELPOS_XPOS:
      return xpos_frequencies(options.rotary_dim, 0.4, 512.0, base);
    default:
      return rope_frequencies(options.rotary_dim, base);
  }
}

status rotation_of(const relpos_rotation_options* given, relpos_rotation** rotation) {
  relpos_rotation_options options;
  if (status valid = copy_struct("options", given, options); !valid) return valid;
  if (rotation == nullptr) return status::error(status_code::null_data, "rotation: is null");
  if (status valid = check_kind("options.frequencies", options.frequencies, RELPOS_XPOS); !valid) {
    return valid;
  }
  const auto layout = options.interleaved ? pair_layout::interleaved : pair_layout::half_split;
  auto made = std::make_unique<rotary_table>(frequencies_of(options), layout);
  if (made->fault() != nullptr) {
    return status::error(status_code::invalid_value, "options: %s", made->fault());
  }
  *rotation = reinterpret_cast<relpos_rotation*>(made.release());
  return {};
}

size_t workspace_bytes(const relpos_call* call, int64_t threads) {
  std::size_t bytes = 0;
  const status valid = attend({team{0, threads, call_barrier{}}, &bytes}, call);
  return valid ? bytes : 0;
}

relpos_status attention(const relpos_call* call, void* workspace, size_t bytes,
                        const relpos_team* members) {
  return c_status(attend({team_of(members), nullptr, {workspace, bytes}}, call));
}

relpos_status append(const relpos_cache* cache, const relpos_tensor* k, const relpos_tensor* v,
                     const relpos_rotation* rotation, int64_t key_offset) {
  if (k == nullptr || v == nullptr) {
    return c_status(status::error(status_code::null_data, "%s: is null", k == nullptr ? "k" : "v"));
  }
  return c_status(with_cache(cache, [&](const auto& rows) {
    return with_rotation(rotation, [&](const auto&... rotates) {
      return relpos::append(serial(), rows, view_of<const float>(*k), view_of<const float>(*v),
                            rotates..., options{.key_offset = key_offset});
    });
  }));
}

relpos_status truncate(const relpos_cache* cache, int64_t sequence, int64_t length) {
  return c_status(with_cache(
      cache, [&](const auto& rows) { return relpos::truncate(rows, sequence, length); }));
}

relpos_status make_rotation(const relpos_rotation_options* given, relpos_rotation** rotation) {
  try {
    return c_status(rotation_of(given, rotation));
  } catch (const std::bad_alloc&) {
    relpos_status result = c_status(
        status::error(status_code::invalid_value, "options.rotary_dim: there is no memory for it"));
    result.code = RELPOS_OUT_OF_MEMORY;
    return result;
  }
}

void free_rotation(relpos_rotation* rotation) { delete reinterpret_cast<rotary_table*>(rotation); }

void alibi_slopes_of(float* slopes, int64_t heads) {
  for (int64_t head = 0; head < heads; ++head) slopes[head] = alibi_slope(head, heads);
}

}  // namespace
}  // namespace relpos::inline RELPOS_ABI::c_interface

namespace relpos_c {

const functions RELPOS_C_SET = {
    relpos::native::name,
    relpos::c_interface::workspace_bytes,
    relpos::c_interface::attention,
    relpos::c_interface::append,
    relpos::c_interface::truncate,
    relpos::c_interface::make_rotation,
    relpos::c_interface::free_rotation,
    relpos::c_interface::alibi_slopes_of,
};

}  // namespace relpos_c
