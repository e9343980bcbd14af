#pragma once

#include <array>
#include <optional>

#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup options
/// @{

/// Outputs for largest probability, entropy and moments of the logits of each row.
///
/// Each is [batch, head, query], and written if present:
/// `options{.statistics = {.entropy = entropy}}`. They are computed in the same pass, with O(1)
/// memory per row. A row that sees no key has 0 in all of them.
///
/// @snippet reference.cpp statistics
struct row_statistics {
  std::optional<view<float, 3>> max_probability{};  ///< the largest p
  std::optional<view<float, 3>> entropy{};          ///< minus the sum of p ln p, in nats
  /// The number of visible keys whose logit is not -inf, exact to 2^24.
  std::optional<view<float, 3>> logit_count{};
  /// The mean of the logits s of these keys.
  std::optional<view<float, 3>> logit_mean{};
  /// Their variance, divided by the count.
  std::optional<view<float, 3>> logit_variance{};

  /// @privatesection Checks and kernels read these members.
  struct labelled_rows {
    const char* name;
    std::optional<view<float, 3>> rows;

    view<float, 3> rows_or_none() const { return rows.value_or(view<float, 3>()); }
  };
  std::array<labelled_rows, 5> all() const {
    return {{{"statistics.max_probability", max_probability},
             {"statistics.entropy", entropy},
             {"statistics.logit_count", logit_count},
             {"statistics.logit_mean", logit_mean},
             {"statistics.logit_variance", logit_variance}}};
  }

  bool any() const { return max_probability || entropy || of_logits(); }
  bool of_logits() const { return logit_count || logit_mean || logit_variance; }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
