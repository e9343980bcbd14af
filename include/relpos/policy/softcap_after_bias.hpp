#pragma once
// A softcap of score and bias together (the audio towers of Gemma 3n and 4):
//
//   s = cap tanh((s + bias) / cap)
//
// `options.softcap` caps the score before the bias, as Gemma 2 does.

#include <cmath>

#include "relpos/contract/policy.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup softmax
/// @{

/// A softcap of score and bias together.
///
/// `softcap_after_bias{cap}`: positive, up to 1e30. Minus infinity still hides a key. Logit scaling
/// and temperature come after it. On the CPU only.
///
/// @copydoc softcap_after_bias.hpp
/// @snippet reference.cpp softcap_after_bias
struct softcap_after_bias {
  float cap;  ///< above 0, at most 1e30

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr float cap_after_bias() const { return cap; }

  status check(const attention_shape&) const {
    if (cap > 0.0f && cap <= 1e30f) return {};
    return status::error(status_code::invalid_value,
                         "softcap_after_bias: cap is %g, must be positive and at most 1e30",
                         static_cast<double>(cap));
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
