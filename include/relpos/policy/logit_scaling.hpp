#pragma once
// Factors of a row's logits, bias included, that grow with the length that the row sees. With them
// the model itself counters the dispersion of attention over long inputs. n is the number of keys
// that the row sees:
//
//   log_n{train_length}    max(1, ln n / ln train_length)        Chiang, Cholak, arXiv 2202.12172; Su
//   ssmax{scales}          scale[head] ln n                      Nakanishi, arXiv 2501.19399
//   position_log{...}      1 + attn_scale ln(floor((q_pos + 1) / floor_scale) + 1)    Llama 4
//
// (YaRN's factor does not depend on the row: yarn_frequencies has it.)

#include <algorithm>
#include <cmath>
#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// All masks of the call must be key ranges, because visible keys are counted.
struct log_n {
  index_t train_length;

  /// `length` is the training length, at least 2.
  constexpr log_n(std::integral auto length) : train_length(static_cast<index_t>(length)) {}

  float logit_factor(index_t, index_t visible) const {
    if (visible <= train_length) return 1.0f;
    const double ratio =
        std::log(static_cast<double>(visible)) / std::log(static_cast<double>(train_length));
    return static_cast<float>(ratio);
  }
  status check(const attention_shape&) const {
    if (train_length >= 2) return {};
    return status::error(status_code::invalid_value,
                         "log_n: train_length is %lld, must be at least 2",
                         static_cast<long long>(train_length));
  }
};

/// Scalable softmax: one learned scale per query head; the caller keeps them alive. All masks of
/// the call must be key ranges, because visible keys are counted.
struct ssmax {
  borrowed_data scales;

  constexpr ssmax(borrowed_data head_scales) : scales(head_scales) {}

  struct of_head {
    float scale;
    float logit_factor(index_t, index_t visible) const {
      return scale *
             static_cast<float>(std::log(static_cast<double>(std::max<index_t>(visible, 1))));
    }
  };
  constexpr of_head bind(index_t head) const { return {scales.data[head]}; }

  status check(const attention_shape& shape) const {
    if (status valid = check_per_head("ssmax", "scales", scales, shape); !valid) return valid;
    return check_finite_per_head("ssmax", "scales", scales, 1e30f);
  }
  bool reads(const byte_range& memory) const { return scales.overlaps(memory); }
};

/// Llama 4's temperature tuning, for its layers without rotation. `position_log{}` has Llama 4's
/// attn_scale and floor_scale.
struct position_log {
  double attn_scale = 0.1;
  index_t floor_scale = 8192;  // positions

  float logit_factor(index_t q_pos) const {
    const index_t steps = std::max<index_t>(floor_div(q_pos + 1, floor_scale), 0);
    return static_cast<float>(1.0 + attn_scale * std::log(static_cast<double>(steps) + 1.0));
  }
  status check(const attention_shape&) const {
    if (floor_scale >= 1 && std::abs(attn_scale) <= 1e30) return {};
    return status::error(
        status_code::invalid_value,
        "position_log: attn_scale is %g and floor_scale %lld, must be finite and at least 1",
        attn_scale, static_cast<long long>(floor_scale));
  }
};

}  // namespace relpos::inline RELPOS_ABI
