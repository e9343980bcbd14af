#pragma once
// The outcome of a call that may neither throw nor allocate: a code, and a sentence that names the
// argument and both shapes.

#include <array>
#include <cstdarg>
#include <cstdio>

#include "relpos/config.hpp"
#include "relpos/core/index.hpp"

namespace relpos::inline RELPOS_ABI {

/// @addtogroup errors
/// @{

/// The kind of a failure.
enum class status_code {
  ok,                   ///< success
  invalid_shape,        ///< a shape, a rank or a number of elements that does not fit
  invalid_stride,       ///< strides that this argument cannot have
  null_data,            ///< elements without memory
  overlap,              ///< an output or the workspace that shares memory with another argument
  workspace_too_small,  ///< fewer bytes than `workspace_bytes` says
  /// @deprecated Renamed to workspace_too_small.
  scratch_too_small [[deprecated("relpos: renamed to workspace_too_small")]] = workspace_too_small,
  invalid_value,  ///< a number out of its range, or arguments that contradict each other
  device          ///< a GPU or its driver, or a part of the processor that the system withholds
};

/// The outcome of a call: converts to true if it succeeded.
///
/// A call that failed has written nothing. `message` names the argument and both shapes.
///
/// @snippet view_form.cpp refused
struct [[nodiscard]] status {
  static constexpr int message_capacity = 320;  ///< bytes of a message, with the zero at its end

  status_code code = status_code::ok;   ///< the kind of failure
  char message[message_capacity] = {};  ///< one sentence; empty after success

  /// Whether the call succeeded.
  constexpr explicit operator bool() const { return code == status_code::ok; }

  /// A failure with a printf-style message, cut at the capacity.
  template <class... Values>
  static status error(status_code code, const char* format, Values... values) {
    if constexpr (sizeof...(Values) == 0) {
      return failure(code, "%s", format);
    } else {
      return failure(code, format, values...);
    }
  }

 private:
  RELPOS_COLD static status failure(status_code code, const char* format, ...) {
    status result;
    result.code = code;
    std::va_list values;
    va_start(values, format);
    std::vsnprintf(result.message, message_capacity, format, values);
    va_end(values);
    return result;
  }
};

/// @}

// Shapes in messages.

/// A shape as text, "[2, 8, 128, 64]".
struct shape_text {
  char text[96];

  template <std::size_t Rank>
  explicit shape_text(const std::array<index_t, Rank>& shape) : shape_text(shape.data(), Rank) {}

  shape_text(const index_t* shape, std::size_t rank) {
    int length = std::snprintf(text, sizeof text, "[");
    for (std::size_t axis = 0; axis < rank; ++axis) {
      length += std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length),
                              "%s%lld", axis == 0 ? "" : ", ", static_cast<long long>(shape[axis]));
    }
    std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length), "]");
  }
};

/// A refusal that shows two shapes: `format` has a %s for each.
template <std::size_t RankA, std::size_t RankB>
status shapes_differ(const char* format, const std::array<index_t, RankA>& a,
                     const std::array<index_t, RankB>& b) {
  return status::error(status_code::invalid_shape, format, shape_text(a).text, shape_text(b).text);
}

}  // namespace relpos::inline RELPOS_ABI
