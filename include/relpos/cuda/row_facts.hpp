#pragma once
// The facts of each query row that the host finds before a call: the keys that range masks show it,
// and the factor by which logit scaling multiplies its logits. Kernels read these numbers, and know
// neither the masks nor the scaling.

#include <cstddef>
#include <tuple>

#include "relpos/call/row_positions.hpp"
#include "relpos/call/scale.hpp"
#include "relpos/call/visible_rows.hpp"
#include "relpos/core/workspace.hpp"
#include "relpos/cuda/params.hpp"

namespace relpos::inline RELPOS_ABI {

/// The row facts of one call. `Policies` are the policies of `Problem`.
template <class Problem, class... Policies>
class row_facts {
 public:
  /// The facts of one head of one sequence, in device memory; null where no policy has any.
  struct of_head {
    const key_span* visible = nullptr;
    const float* factors = nullptr;
  };

  /// Whether logit scaling reads explicit positions: they differ between the sequences of a
  /// uniform batch.
  static constexpr bool read_places = any_explicit_positions<Policies...> &&
                                      (scales_rows<head_policy_of<Policies>> || ... || false);

  /// Takes host memory for the data that the device reads, for `sets` sequences.
  row_facts(arena& memory, const Problem& problem, index_t sets) : problem_(problem) {
    index_t rows = 0;
    for (index_t set = 0; set < sets; ++set) rows += problem.shape_of(set).query_length;
    const index_t heads = problem.shape.query_heads;
    visible_ = memory.take<key_span>(masks ? rows * (masks_by_head ? heads : 1) : 0);
    factors_ = memory.take<float>(scales ? rows * (scales_by_head ? heads : 1) : 0);
  }

  /// Fills the facts of one head. `first_row` is the number of query rows of the sets before this
  /// one. Head 0 must be filled first.
  template <class HeadPolicies>
  of_head fill(index_t set, index_t first_row, index_t head, const HeadPolicies& head_policies,
               std::ptrdiff_t to_device) const {
    const index_t rows = problem_.shape_of(set).query_length;
    const auto place = [&](bool by_head) {
      return by_head ? first_row * problem_.shape.query_heads + head * rows : first_row;
    };
    const positions position = problem_.position_of(set);
    const index_t key_length = problem_.shape_of(set).key_length;
    key_span* const visible = masks ? visible_ + place(masks_by_head) : nullptr;
    of_head result;
    if constexpr (masks) {
      if (masks_by_head || head == 0) {
        for (index_t row = 0; row < rows; ++row) {
          visible[row] = key_span::of(visible_key_rows(head_policies, row + position.query_offset,
                                                       position.key_offset, key_length));
        }
      }
      result.visible = rebase(visible, to_device);
    }
    if constexpr (scales) {
      float* const factors = factors_ + place(scales_by_head);
      if (scales_by_head || head == 0) {
        const auto places = row_positions(problem_.policies, position, set);
        for (index_t row = 0; row < rows; ++row) {
          const index_t seen = masks ? visible[row].last - visible[row].first : key_length;
          factors[row] = logit_factor(head_policies, row, places.query(row), seen);
        }
      }
      result.factors = rebase(factors, to_device);
    }
    return result;
  }

 private:
  static constexpr bool masks = (masks_range<head_policy_of<Policies>> || ... || false);
  static constexpr bool scales = (scales_rows<head_policy_of<Policies>> || ... || false);
  static constexpr bool masks_by_head =
      ((masks_range<head_policy_of<Policies>> && binds<Policies>) || ... || false);
  // Some scalings read the number of keys that the masks show.
  static constexpr bool scales_by_head =
      masks_by_head || ((scales_rows<head_policy_of<Policies>> && binds<Policies>) || ... || false);

  const Problem& problem_;
  key_span* visible_ = nullptr;
  float* factors_ = nullptr;
};

}  // namespace relpos::inline RELPOS_ABI
