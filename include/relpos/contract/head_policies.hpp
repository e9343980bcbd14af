#pragma once
// Head policies: types that the member `bind` of a policy returns (contract/policy.hpp). A kernel
// depends on the returned type, not on the policy. So policies whose `bind` returns one of these
// types, including policies of your own, share the kernels of relpos::kernels
// (cpu/common_kernels.hpp).

#include <algorithm>

#include "relpos/core/index.hpp"
#include "relpos/core/math.hpp"
#include "relpos/core/position.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup own_policies
/// @{

/// The head policy of a bias that is linear in the distance, slope (k_pos - q_pos).
///
/// A policy whose `bind` returns it shares the kernels that relpos::kernels has compiled.
struct linear_bias {
  float slope;  ///< per position

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  template <class Real>
  RELPOS_INLINE constexpr Real bias(Real distance) const {
    return slope * distance;
  }
  /// Rounds once if the instruction set has an fma. If compilers chose, some copies of a loop would
  /// round once and others twice.
  template <class Real>
  RELPOS_INLINE constexpr Real add_to(Real score, Real distance) const {
    return fma(distance, Real(slope), score);
  }
  constexpr linear_bias scaled(float factor) const { return {slope * factor}; }
  constexpr float upper_bound(index_t first, index_t last) const {
    return slope * static_cast<float>(slope < 0.0f ? first : last);
  }
};

/// The head policy of a bias matrix[query row, key row], for one head.
///
/// A policy whose `bind` returns it shares the kernels that relpos::kernels has compiled.
struct matrix_bias {
  const float* data;     ///< of query row 0 and key row 0
  index_t query_stride;  ///< in elements
  index_t key_stride;    ///< in elements

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr float bias_element(index_t query_row, index_t key_row) const {
    return data[query_row * query_stride + key_row * key_stride];
  }
};

/// @}

/// The keys of a ring that a query sees: attention sinks (Xiao et al., arXiv 2309.17453), and a
/// window of resident rows.
///
///   k_pos < sinks_end  or  max(oldest, q_pos - window + 1) <= k_pos
///
/// The members are the bounds of one sequence. All are positions, except `window`, which is a
/// number of rows.
struct sink_window {
  bool has_sinks;
  index_t sinks_end;
  index_t oldest;  // behind the sinks
  index_t window;  // 0: all from `oldest` on

  constexpr index_t window_start(index_t q_pos) const {
    return window > 0 ? q_pos - window + 1 : key_range::everything().first;
  }
  /// Without sinks a query sees exactly this range; with sinks `keep` decides.
  constexpr key_range visible_keys(index_t q_pos) const {
    return {has_sinks ? key_range::everything().first : first_behind_sinks(q_pos),
            key_range::everything().last};
  }
  constexpr bool keep(index_t q_pos, index_t k_pos) const {
    return k_pos < sinks_end || first_behind_sinks(q_pos) <= k_pos;
  }
  constexpr tile_class classify(const tile& region) const {
    if (!has_sinks || region.last_key <= sinks_end) return tile_class::full;
    // The window of the last query begins last.
    if (first_behind_sinks(region.last_query - 1) <= region.first_key) return tile_class::full;
    const bool hides_all =
        sinks_end <= region.first_key && region.last_key <= first_behind_sinks(region.first_query);
    return hides_all ? tile_class::skip : tile_class::partial;
  }

  constexpr index_t first_behind_sinks(index_t q_pos) const {
    return std::max(oldest, window_start(q_pos));
  }
};

}  // namespace relpos::inline RELPOS_ABI
