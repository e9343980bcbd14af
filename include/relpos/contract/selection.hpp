#pragma once
// The keys that a query selects, as a list. A query attends to no other key.

#include <algorithm>
#include <cstdint>
#include <limits>

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup own_policies
/// @{

/// The list of the keys that one query selects.
///
/// It has numbers of blocks of keys, ascending, each once. Block j has the positions [j *
/// block_keys, (j + 1) * block_keys). Numbers of -1 fill the end of a list, and count as larger
/// than all others.
struct key_selection {
  const std::int32_t* blocks = nullptr;  ///< the first number
  index_t stride = 1;                    ///< between two numbers, in elements
  index_t size = 0;                      ///< numbers, -1 included
  index_t block_keys = 1;                ///< keys of a block

  /// @privatesection Kernels call these members.
  constexpr index_t block(index_t i) const {
    const index_t number = blocks[i * stride];
    return number < 0 ? std::numeric_limits<index_t>::max() : number;
  }
  /// The position of the i-th selected key.
  constexpr index_t position(index_t i) const {
    if (block_keys == 1) return block(i);
    return block(i / block_keys) * block_keys + i % block_keys;
  }

  /// The number of selected keys before a position. The search begins at block `from` of the list,
  /// which becomes the first that does not lie before the position.
  constexpr index_t count_before(index_t position, index_t& from) const {
    const index_t sought = block_keys == 1 ? position : floor_div(position, block_keys);
    from = first_from(sought, from);
    const bool lies_inside = from < size && block(from) == sought;
    return from * block_keys + (lies_inside ? position - sought * block_keys : 0);
  }
  constexpr index_t count_before(index_t position) const {
    index_t from = size / 2;
    return count_before(position, from);
  }

  /// Whether the key at a position is selected; `from` as in count_before.
  constexpr bool contains(index_t position, index_t& from) const {
    const index_t sought = block_keys == 1 ? position : floor_div(position, block_keys);
    from = first_from(sought, from);
    return from < size && block(from) == sought;
  }

 private:
  /// The first block of the list that is not before `sought`: a search in doubling steps from
  /// `near`.
  constexpr index_t first_from(index_t sought, index_t near) const {
    const auto lies_before = [&](index_t i) { return block(i) < sought; };
    index_t first = std::min(near, size);  // the blocks before it lie before `sought`
    index_t last = first;                  // the blocks from it on do not
    for (index_t step = 1; last < size && lies_before(last); step *= 2) {
      first = last + 1;
      last = std::min(last + step, size);
    }
    for (index_t step = 1; first > 0 && !lies_before(first - 1); step *= 2) {
      last = first - 1;
      first = std::max<index_t>(first - step, 0);
    }
    while (first < last) {
      const index_t middle = first + (last - first) / 2;
      if (lies_before(middle)) {
        first = middle + 1;
      } else {
        last = middle;
      }
    }
    return first;
  }
};

/// @}

}  // namespace relpos::inline RELPOS_ABI
