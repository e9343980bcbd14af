#pragma once

#include <cstddef>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

/// Where a copy has what is `at`, if all of it lies `bytes` further.
template <class Of>
Of* moved(Of* at, std::ptrdiff_t bytes) {
  return reinterpret_cast<Of*>(reinterpret_cast<std::byte*>(at) + bytes);
}

}  // namespace relpos::inline RELPOS_ABI
