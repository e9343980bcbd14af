#pragma once

#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// Where a group's queries are, and which rows of it exist.
struct group_rows {
  index first_row = 0;  // of the call
  index count = 0;
  index q_pos = 0;  // of first_row
  index key_offset = 0;
};

}  // namespace relpos::inline RELPOS_ABI
