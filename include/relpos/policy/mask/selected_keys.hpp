#pragma once
// Keys that the model selects for each query (DeepSeek V3.2's lightning indexer, arXiv 2512.02556;
// NSA's blocks, arXiv 2502.11089; MiniMax M3). A query attends to the keys of its list that the
// masks of the call show it.
//
// The kernel `decode` reads the keys and values of a query's list and no others, in place. It costs
// as much as a sequence of so many keys; only the rotors between blocks of a rotation, and the
// table of a bias, are still made for the whole length, 1 us for 1000 positions. The kernel
// `prefill` computes the strips of keys that some query of a group selects: it is the faster one
// where neighbouring queries select much the same keys, `options{.kernel = kernel_class::decode}`
// where they do not.

//   // list: std::int32_t [batch, 1, query, 2048], ascending, -1 behind the last key
//   relpos::attention(runner, memory, out, q, cache, rope, relpos::causal{},
//                     relpos::selected_keys{list});

#include <cstdint>

#include "relpos/check/shapes.hpp"
#include "relpos/contract/policy.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup masks
/// @{

/// Keys, or blocks of keys, that the model selects for each query (DeepSeek V3.2, NSA).
///
/// `selected_keys{list, block_keys}`. `list` is a view or tensor of std::int32_t, [batch, key heads
/// or 1, query, entry], indexed by the rows of the call. Entry j selects the keys at positions
/// [j * block_keys, (j + 1) * block_keys): one key by default. The entries of a query ascend, each
/// once, and are at least 0; -1 fills the end of a list, and a list of -1 alone sees no key. A call
/// is refused if a list breaks this. Positions without a key, as the keys of other slices for
/// `partial` or keys that a ring has evicted, select nothing. The caller keeps the list alive.
/// Keys in tensors that a policy rotates are rotated all, selected or not; caches hold rotated
/// keys. On the CPU only.
///
/// @copydoc selected_keys.hpp
/// @snippet reference.cpp selected_keys
struct selected_keys {
  view<const std::int32_t, 4> list;  ///< [batch, key heads or 1, query, entry]
  index_t block_keys;                ///< the keys of an entry, from 1 to 2^20

  /// The lists of all queries, and the keys of an entry.
  constexpr selected_keys(view<const std::int32_t, 4> blocks, index_t keys_of_block = 1)
      : list(blocks), block_keys(keys_of_block) {}

  /// @privatesection Kernels call these members, which contract/policy.hpp describes.
  constexpr key_selection selection(index_t batch, index_t key_head, index_t query_row) const {
    const index_t head = list.shape[1] == 1 ? 0 : key_head;
    return {
        list.data + batch * list.strides[0] + head * list.strides[1] + query_row * list.strides[2],
        list.strides[3], list.shape[3], block_keys};
  }
  constexpr index_t longest_selection() const { return list.shape[3] * block_keys; }

  status check(const attention_shape& shape) const {
    if (status valid = check_view("selected_keys: list", list); !valid) return valid;
    const bool of_heads = list.shape[1] == 1 || list.shape[1] == shape.key_heads;
    if (list.shape[0] != shape.batch || !of_heads || list.shape[2] != shape.query_length) {
      return status::error(
          status_code::invalid_shape,
          "selected_keys: list is %s, must be [batch, key heads or 1, query, entry] = [%lld, %lld "
          "or 1, %lld, entry]",
          shape_text(list.shape).text, static_cast<long long>(shape.batch),
          static_cast<long long>(shape.key_heads), static_cast<long long>(shape.query_length));
    }
    if (block_keys >= 1 && block_keys <= 1 << 20) return {};
    return status::error(status_code::invalid_value,
                         "selected_keys: block_keys is %lld, must be from 1 to 2^20",
                         static_cast<long long>(block_keys));
  }
  template <class Call>
  status check_sequences(const Call& call) const {
    for (index_t batch = 0; batch < list.shape[0]; ++batch) {
      const index_t rows = call.shape_of(batch).query_length;
      for (index_t head = 0; head < list.shape[1]; ++head) {
        for (index_t row = 0; row < rows; ++row) {
          if (status valid = check_list(batch, head, row); !valid) return valid;
        }
      }
    }
    return {};
  }
  bool reads(const byte_range& memory) const { return byte_range::of(list).overlaps(memory); }

 private:
  /// Refuses a list that does not ascend.
  status check_list(index_t batch, index_t head, index_t row) const {
    index_t before = -1;
    bool has_ended = false;
    for (index_t i = 0; i < list.shape[3]; ++i) {
      const index_t entry = list(batch, head, row, i);
      if (entry == -1) {
        has_ended = true;
        continue;
      }
      const char* wrong = nullptr;
      if (entry < 0) {
        wrong = "must be at least 0, or -1 behind the last";
      } else if (has_ended) {
        wrong = "is behind a -1, which ends a list";
      } else if (entry <= before) {
        wrong = "must be larger than the one before it";
      }
      if (wrong != nullptr) {
        return status::error(status_code::invalid_value,
                             "selected_keys: list has %lld at [%lld, %lld, %lld, %lld], which %s",
                             static_cast<long long>(entry), static_cast<long long>(batch),
                             static_cast<long long>(head), static_cast<long long>(row),
                             static_cast<long long>(i), wrong);
      }
      before = entry;
    }
    return {};
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
