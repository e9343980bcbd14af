#pragma once
// Positions that a caller gives per token, [axis, batch or 1, position].

#include "relpos/check/shapes.hpp"
#include "relpos/core/position.hpp"
#include "relpos/core/view.hpp"

namespace relpos::inline RELPOS_ABI {

constexpr view<const index_t, 3> with_one_axis(const view<const index_t, 2>& of) {
  return {of.data, {1, of.shape[0], of.shape[1]}, {0, of.strides[0], of.strides[1]}};
}

constexpr index_t given_position(const view<const index_t, 3>& given, index_t batch, index_t row,
                                 index_t axis) {
  return given(axis, given.shape[1] == 1 ? 0 : batch, row);
}

/// Refuses a shape that does not fit the call, and positions whose differences could overflow.
inline status check_given_positions(const char* name, const view<const index_t, 3>& given,
                                    index_t batch, index_t length) {
  const auto number = [](index_t x) { return static_cast<long long>(x); };
  const bool fits = given.shape[0] >= 1 && (given.shape[1] == batch || given.shape[1] == 1) &&
                    given.shape[2] == length;
  if (!fits) {
    return status::error(
        status_code::invalid_shape,
        "%s: shape is %s, must be [axis, batch or 1, position] = [1 or more, %lld, "
        "%lld]",
        name, shape_text(given.shape).text, number(batch), number(length));
  }
  if (status valid = check_view(name, given); !valid) return valid;
  for (index_t axis = 0; axis < given.shape[0]; ++axis) {
    for (index_t entry = 0; entry < given.shape[1]; ++entry) {
      for (index_t row = 0; row < length; ++row) {
        const index_t position = given(axis, entry, row);
        if (-max_offset <= position && position <= max_offset) continue;
        return status::error(status_code::invalid_value,
                             "%s: is %lld at [%lld, %lld, %lld], must be within +-2^60", name,
                             number(position), number(axis), number(entry), number(row));
      }
    }
  }
  return {};
}

}  // namespace relpos::inline RELPOS_ABI
