#pragma once
// Shapes in messages.

#include <array>
#include <cstdio>

#include "relpos/core/index.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// A shape as text, "[2, 8, 128, 64]".
struct shape_text {
  char text[96];

  template <std::size_t Rank>
  explicit shape_text(const std::array<index_t, Rank>& shape) : shape_text(shape.data(), Rank) {}

  shape_text(const index_t* shape, std::size_t rank) {
    int at = std::snprintf(text, sizeof text, "[");
    for (std::size_t axis = 0; axis < rank; ++axis) {
      at += std::snprintf(text + at, sizeof text - static_cast<std::size_t>(at), "%s%lld",
                          axis == 0 ? "" : ", ", static_cast<long long>(shape[axis]));
    }
    std::snprintf(text + at, sizeof text - static_cast<std::size_t>(at), "]");
  }
};

/// A refusal that shows two shapes: `what` has a %s for each.
template <std::size_t RankA, std::size_t RankB>
status shapes_differ(const char* what, const std::array<index_t, RankA>& a,
                     const std::array<index_t, RankB>& b) {
  return status::error(status_code::invalid_shape, what, shape_text(a).text, shape_text(b).text);
}

}  // namespace relpos::inline RELPOS_ABI
