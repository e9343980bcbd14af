#pragma once
// Policies whose kind is known at run time only: what a call of the C interface asks for.

#include <limits>
#include <span>

#include "relpos/policies.hpp"
#include "relpos_c.h"

namespace relpos::inline RELPOS_ABI::c_interface {

inline std::span<const float> per_head(const float* values, index_t heads) {
  return {values, values == nullptr ? 0 : static_cast<std::size_t>(heads)};
}

/// A mask of any kind.
struct any_mask {
  relpos_mask of;

  /// Calls use(mask) with the mask of the kind.
  template <class Use>
  auto with(const Use& use) const {
    switch (of.kind) {
      case RELPOS_CAUSAL:
        return use(causal{});
      case RELPOS_SLIDING_WINDOW:
        return use(sliding_window{of.size});
      case RELPOS_BAND:
        return use(band{of.size, of.after});
      case RELPOS_BLOCKWISE_CAUSAL:
        return use(blockwise_causal{of.size});
      case RELPOS_CHUNKED_CAUSAL:
        return use(chunked_causal{of.size});
      default:
        return use(full{});
    }
  }
  key_range visible_keys(index_t q_pos) const {
    return with([&](const auto& mask) { return mask.visible_keys(q_pos); });
  }
  /// A mask without a window asks a ring for no row that it may have evicted.
  index_t window_start(index_t q_pos) const {
    return with([&](const auto& mask) {
      if constexpr (requires { mask.window_start(q_pos); }) return mask.window_start(q_pos);
      return q_pos;
    });
  }
  status check(const attention_shape& shape) const {
    return with([&](const auto& mask) -> status {
      if constexpr (requires { mask.check(shape); }) return mask.check(shape);
      return {};
    });
  }
};

/// One temperature for each head, or the same for all.
struct any_temperature {
  const float* of_heads;  // may be null
  index_t heads;
  float of_all;

  temperature bind(index_t head) const {
    return temperature(of_heads == nullptr ? of_all : of_heads[head]);
  }
  bool reads(const byte_range& memory) const {
    return borrowed_data(per_head(of_heads, heads)).overlaps(memory);
  }
};

/// Sink logits, or none.
struct any_sinks {
  const float* of_heads;  // may be null
  index_t heads;

  sink_logits::of_head bind(index_t head) const {
    return {of_heads == nullptr ? -std::numeric_limits<float>::infinity() : of_heads[head]};
  }
  status check(const attention_shape& shape) const {
    if (of_heads == nullptr) return {};
    return sink_logits(per_head(of_heads, heads)).check(shape);
  }
  bool reads(const byte_range& memory) const {
    return borrowed_data(per_head(of_heads, heads)).overlaps(memory);
  }
};

/// ALiBi, or a slope of 0 for all heads.
struct any_slopes {
  const float* of_heads;  // may be null
  index_t heads;

  linear_bias bind(index_t head) const { return {of_heads == nullptr ? 0.0f : of_heads[head]}; }
  status check(const attention_shape& shape) const {
    if (of_heads == nullptr) return {};
    return alibi(per_head(of_heads, heads)).check(shape);
  }
  bool reads(const byte_range& memory) const {
    return borrowed_data(per_head(of_heads, heads)).overlaps(memory);
  }
};

/// T5's bias, or a function of the caller.
struct any_table {
  t5_bias t5;
  double (*function)(void* context, int64_t head, int64_t distance);  // null: T5
  void* context;

  any_table(const relpos_bias& bias, index_t heads)
      : t5(table_of(bias, heads), bias.bidirectional ? bidirectional : unidirectional,
           {.num_buckets = buckets_of(bias),
            .max_distance = bias.max_distance == 0 ? 128 : bias.max_distance}),
        function(bias.kind == RELPOS_FUNCTION ? bias.function : nullptr),
        context(bias.context) {}

  double tabulated_bias(index_t head, index_t distance) const {
    return function == nullptr ? t5.tabulated_bias(head, distance)
                               : function(context, head, distance);
  }
  distance_range varies() const { return function == nullptr ? t5.varies() : unlimited_distances; }
  status check(const attention_shape& shape) const {
    return function == nullptr ? t5.check(shape) : status();
  }
  bool reads(const byte_range& memory) const { return function == nullptr && t5.reads(memory); }

 private:
  static index_t buckets_of(const relpos_bias& bias) {
    return bias.num_buckets == 0 ? 32 : bias.num_buckets;
  }
  static std::span<const float> table_of(const relpos_bias& bias, index_t heads) {
    const index_t buckets = std::clamp<index_t>(buckets_of(bias), 0, 1 << 20);
    return {bias.values,
            static_cast<std::size_t>(buckets * std::clamp<index_t>(heads, 0, 1 << 20))};
  }
};

}  // namespace relpos::inline RELPOS_ABI::c_interface
