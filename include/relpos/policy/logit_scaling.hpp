#pragma once
// Factors of a row's logits, bias included, that grow with the length that the row sees. With them
// the model itself counters the dispersion of attention over long inputs. n is the number of keys
// that the row sees, p the query's position, counted from `first_position`, which is 1 by default:
//
//   log_n{train_length}      max(1, ln n / ln train_length)      Chiang, Cholak, arXiv 2202.12172
//   ssmax{scales}            scale[head] ln n                    Nakanishi, arXiv 2501.19399
//   position_log{...}        1 + attn_scale ln(1 + floor(p / floor_scale))
//                                                                Llama 4; from 0: Ministral 3
//   position_log_ratio{...}  1 + attn_scale ln(max(1, p / length))
//                                                                Inkling
//   position_power{...}      (1 + p / length)^exponent           Beam
//   head_position_log{...}   slope[head] ln p + intercept[head]  Mistral Large 4
//
// (YaRN's factor does not depend on the row: yarn_frequencies has it.)

#include <algorithm>
#include <cmath>
#include <concepts>

#include "relpos/check/numbers.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/borrowed_data.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup softmax
/// @{

/// Logit scaling by the number of visible keys, max(1, ln n / ln train_length).
///
/// All masks of the call must be key ranges, because visible keys are counted (Chiang, Cholak; Su).
///
/// @copydoc logit_scaling.hpp
/// @snippet reference.cpp logit_scaling
struct log_n {
  index_t train_length;  ///< tokens, at least 2

  /// `length` is the training length, at least 2.
  constexpr log_n(std::integral auto length) : train_length(static_cast<index_t>(length)) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
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

/// Scalable softmax: logit scaling by scale[head] ln n, n the number of visible keys.
///
/// One learned scale per query head, within +-1e30; the caller keeps them alive. All masks of the
/// call must be key ranges, because visible keys are counted.
///
/// @copydoc logit_scaling.hpp
/// @snippet reference.cpp logit_scaling
struct ssmax {
  borrowed_data scales;  ///< [query heads]

  /// The scales of all query heads.
  constexpr ssmax(borrowed_data head_scales) : scales(head_scales) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
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

/// @cond
/// Refuses a number of the first position of a sequence other than 0 or 1.
inline status check_first_position(const char* policy, index_t first_position) {
  if (first_position == 0 || first_position == 1) return {};
  return status::error(status_code::invalid_value, "%s: first_position is %lld, must be 0 or 1",
                       policy, static_cast<long long>(first_position));
}
/// @endcond

/// Llama 4's logit scaling by the logarithm of the position.
///
/// Temperature tuning, for its layers without rotation. `position_log{}` has Llama 4's numbers.
/// Ministral 3 and Mistral 4 have it in every layer, with
/// `position_log{attn_scale, floor_scale, 0}`.
///
/// @copydoc logit_scaling.hpp
/// @snippet reference.cpp logit_scaling
struct position_log {
  double attn_scale = 0.1;     ///< within +-1e30
  index_t floor_scale = 8192;  ///< positions, at least 1
  index_t first_position = 1;  ///< the number of the first position: 0 or 1

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  float logit_factor(index_t q_pos) const {
    const index_t steps = std::max<index_t>(floor_div(q_pos + first_position, floor_scale), 0);
    return static_cast<float>(1.0 + attn_scale * std::log(static_cast<double>(steps) + 1.0));
  }
  status check(const attention_shape&) const {
    if (!(std::abs(attn_scale) <= 1e30)) {
      return status::error(status_code::invalid_value,
                           "position_log: attn_scale is %g, must be within +-1e30", attn_scale);
    }
    if (floor_scale < 1) {
      return status::error(status_code::invalid_value,
                           "position_log: floor_scale is %lld, must be at least 1",
                           static_cast<long long>(floor_scale));
    }
    return check_first_position("position_log", first_position);
  }
};

/// Inkling's logit scaling by the logarithm of position over length: 1 up to `length`.
///
/// @copydoc logit_scaling.hpp
/// @snippet reference.cpp logit_scaling
struct position_log_ratio {
  double attn_scale;           ///< within +-1e30
  index_t length;              ///< positions, at least 1
  index_t first_position = 1;  ///< the number of the first position: 0 or 1

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  float logit_factor(index_t q_pos) const {
    const auto position = static_cast<double>(q_pos + first_position);
    const double ratio = std::max(position / static_cast<double>(length), 1.0);
    return static_cast<float>(1.0 + attn_scale * std::log(ratio));
  }
  status check(const attention_shape&) const {
    if (!(std::abs(attn_scale) <= 1e30)) {
      return status::error(status_code::invalid_value,
                           "position_log_ratio: attn_scale is %g, must be within +-1e30",
                           attn_scale);
    }
    if (length < 1) {
      return status::error(status_code::invalid_value,
                           "position_log_ratio: length is %lld, must be at least 1",
                           static_cast<long long>(length));
    }
    return check_first_position("position_log_ratio", first_position);
  }
};

/// Logit scaling by a power of the position (Beam). Positions before the first have the factor 1.
///
/// @copydoc logit_scaling.hpp
/// @snippet reference.cpp logit_scaling
struct position_power {
  double exponent;             ///< within +-2: at any position the factor is finite
  index_t length;              ///< positions, at least 1
  index_t first_position = 1;  ///< the number of the first position: 0 or 1

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  float logit_factor(index_t q_pos) const {
    const auto position = static_cast<double>(std::max<index_t>(q_pos + first_position, 0));
    return static_cast<float>(std::pow(1.0 + position / static_cast<double>(length), exponent));
  }
  status check(const attention_shape&) const {
    if (!(std::abs(exponent) <= 2.0)) {
      return status::error(status_code::invalid_value,
                           "position_power: exponent is %g, must be within +-2", exponent);
    }
    if (status valid = check_extent("position_power", "length", length, 1); !valid) return valid;
    return check_first_position("position_power", first_position);
  }
};

/// Logit scaling by a learned line in the logarithm of the position (Mistral Large 4).
///
/// Each query head has a line; the caller keeps the numbers alive. A p below 1 counts as 1.
///
/// @copydoc logit_scaling.hpp
/// @snippet reference.cpp logit_scaling
struct head_position_log {
  borrowed_data slopes;        ///< [query heads], within +-1e30
  borrowed_data intercepts;    ///< [query heads], within +-1e30
  index_t first_position = 1;  ///< the number of the first position: 0 or 1

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  struct of_head {
    float slope, intercept;
    index_t first_position;
    float logit_factor(index_t q_pos) const {
      const auto position = static_cast<double>(std::max<index_t>(q_pos + first_position, 1));
      return static_cast<float>(static_cast<double>(slope) * std::log(position) +
                                static_cast<double>(intercept));
    }
  };
  constexpr of_head bind(index_t head) const {
    return {slopes.data[head], intercepts.data[head], first_position};
  }

  status check(const attention_shape& shape) const {
    const char* const policy = "head_position_log";
    if (status valid = check_per_head(policy, "slopes", slopes, shape); !valid) return valid;
    if (status valid = check_per_head(policy, "intercepts", intercepts, shape); !valid) {
      return valid;
    }
    if (status valid = check_finite_per_head(policy, "slopes", slopes, 1e30f); !valid) return valid;
    if (status valid = check_finite_per_head(policy, "intercepts", intercepts, 1e30f); !valid) {
      return valid;
    }
    return check_first_position(policy, first_position);
  }
  bool reads(const byte_range& memory) const {
    return slopes.overlaps(memory) || intercepts.overlaps(memory);
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
