#pragma once
// Logit scaling by a factor of each row of a call.

#include "relpos/core/view.hpp"

namespace support {

struct factors_of_rows {
  relpos::view<const float, 4> factors;  // [1, 1, query, 1]

  float logit_factor_of_row(relpos::index_t query_row, relpos::index_t) const {
    return factors(0, 0, query_row, 0);
  }
};

}  // namespace support
