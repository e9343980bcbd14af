#pragma once
// The number of keys that each of a rank's queries sees on all ranks, for logit scaling: a call
// over a piece of the keys would count the keys of the piece.

#include <algorithm>
#include <array>
#include <cstddef>
#include <tuple>
#include <vector>

#include "relpos/call/visible_rows.hpp"
#include "relpos/core/shape.hpp"
#include "relpos/core/view.hpp"
#include "relpos/mpi/group.hpp"

namespace relpos::inline RELPOS_ABI {
namespace mpi {

class visible_counts {
 public:
  visible_counts() = default;

  template <class... Policies>
  visible_counts(const group& ranks, const std::tuple<Policies...>& policies,
                 const attention_shape& shape) {
    if constexpr ((scales_by_count<head_policy_of<Policies>> || ... || false)) {
      constexpr bool by_entry = ((is_mask<Policies> && binds_batch<Policies>) || ... || false);
      constexpr bool by_head = ((is_mask<Policies> && binds<Policies>) || ... || false);
      const index_t entries = std::min(shape.batch, by_entry ? shape.batch : index_t{1});
      const index_t heads = std::min(shape.query_heads, by_head ? shape.query_heads : index_t{1});
      counts_.reserve(static_cast<std::size_t>(entries * heads * shape.query_length));
      for (index_t batch = 0; batch < entries; ++batch) {
        for (index_t head = 0; head < heads; ++head) {
          const auto of_head = bind_all(policies, batch, head);
          for (const key_range& piece : ranks.queries().of(ranks.rank())) {
            for (index_t q_pos = piece.first; q_pos < piece.last; ++q_pos) {
              counts_.push_back(count(ranks, of_head, q_pos));
            }
          }
        }
      }
      shape_ = {shape.batch, shape.query_heads, shape.query_length};
      strides_ = {by_entry ? heads * shape.query_length : 0, by_head ? shape.query_length : 0, 1};
    }
  }

  /// [batch, head, own row].
  view<const index_t, 3> rows() const { return {counts_.data(), shape_, strides_}; }

 private:
  template <class... HeadPolicies>
  static index_t count(const group& ranks, const std::tuple<HeadPolicies...>& of_head,
                       index_t q_pos) {
    index_t sum = 0;
    for (const auto& pieces : ranks.keys().pieces) {
      for (const key_range& piece : pieces) {
        sum += rows_of(visible_key_rows(of_head, q_pos, piece.first, rows_of(piece)));
      }
    }
    return sum;
  }

  std::vector<index_t> counts_{};
  std::array<index_t, 3> shape_{}, strides_{};
};

}  // namespace mpi
}  // namespace relpos::inline RELPOS_ABI
