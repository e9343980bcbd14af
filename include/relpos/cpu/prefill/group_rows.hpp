#pragma once

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Where a group's queries are, and which rows of it exist.
struct group_rows {
  index_t first_row = 0;  // of the call
  index_t count = 0;
  index_t q_pos = 0;  // of first_row
  index_t key_offset = 0;
};

}  // namespace relpos::inline RELPOS_ABI
