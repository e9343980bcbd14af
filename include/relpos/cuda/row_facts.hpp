#pragma once
// What the host finds of each query row before a call: the keys that range masks leave it, and what laws multiply its
// logits by. Kernels read numbers, and know neither the masks nor the laws.

#include <cstddef>
#include <tuple>
#include <type_traits>

#include "relpos/core/row_positions.hpp"
#include "relpos/core/scale.hpp"
#include "relpos/core/scratch.hpp"
#include "relpos/core/visible_rows.hpp"
#include "relpos/cuda/forward_call.hpp"
#include "relpos/cuda/moved.hpp"

namespace relpos::inline RELPOS_ABI {

/// For one call of `Problem`, over the policies of which it is a template.
template <class Problem, class... Policies>
class row_facts {
 public:
  /// Of one head of one sequence, in device memory; null where no policy has any.
  struct of_head {
    const key_span* visible = nullptr;
    const float* factors = nullptr;
  };

  /// Takes what the device reads of host memory, for `sets` sequences.
  row_facts(scratch_divider& memory, const Problem& problem, index_t sets) : problem_(problem) {
    index_t rows = 0;
    for (index_t set = 0; set < sets; ++set) rows += problem.shape_of(set).query_length;
    if (differ_by_head) rows *= problem.shape.query_heads;
    next_.visible = memory.take<key_span>(masks ? rows : 0);
    next_.factors = memory.take<float>(scales ? rows : 0);
  }

  /// Heads of a set one after another, sets one after another.
  template <class Bound>
  of_head fill(index_t set, index_t head, const Bound& bound, std::ptrdiff_t to_device) {
    if (head > 0 && !differ_by_head) return last_;
    const positions position = problem_.position_of(set);
    const attention_shape of = problem_.shape_of(set);
    [[maybe_unused]] const auto places = row_positions(problem_.policies, position, set);
    last_ = {masks ? moved(next_.visible, to_device) : nullptr,
             scales ? moved(next_.factors, to_device) : nullptr};
    if constexpr (masks || scales) {
      for (index_t row = 0; row < of.query_length; ++row) {
        const key_range seen = visible_key_rows(bound, row + position.query_offset,
                                                position.key_offset, of.key_length);
        if constexpr (masks) *next_.visible++ = key_span::of(seen);
        if constexpr (scales) {
          *next_.factors++ = logit_factor(bound, places.query(row), seen.last - seen.first);
        }
      }
    }
    return last_;
  }

  /// Whether positions that are given, which differ between sequences, are among what they are found by.
  static constexpr bool read_places = any_given_positions<Policies...> &&
                                      (scales_by_position<bound_policy<Policies>> || ... || false);

 private:
  static constexpr bool masks = (masks_range<bound_policy<Policies>> || ... || false);
  static constexpr bool scales = (scales_rows<bound_policy<Policies>> || ... || false);
  // Policies that do not bind are the same for all heads.
  static constexpr bool differ_by_head =
      (((masks_range<bound_policy<Policies>> || scales_rows<bound_policy<Policies>>) &&
        !std::is_same_v<bound_policy<Policies>, Policies>) ||
       ... || false);

  /// Where the next head's go on the host.
  struct next_rows {
    key_span* visible = nullptr;
    float* factors = nullptr;
  };

  const Problem& problem_;
  next_rows next_;
  of_head last_;
};

}  // namespace relpos::inline RELPOS_ABI
