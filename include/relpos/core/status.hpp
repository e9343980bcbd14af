#pragma once
// The outcome of a call that may neither throw nor allocate: a code, and a sentence that names the
// argument and both shapes.

#include <cstdarg>
#include <cstdio>

#include "relpos/config.hpp"

namespace relpos::inline RELPOS_ABI {

enum class status_code {
  ok,
  invalid_shape,
  invalid_stride,
  null_data,
  overlap,
  scratch_too_small,
  invalid_value,
  device  // a GPU or its driver
};

/// Converts to true when the call did what it was asked. Otherwise nothing was written.
struct [[nodiscard]] status {
  static constexpr int message_capacity = 320;

  status_code code = status_code::ok;
  char message[message_capacity] = {};

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

}  // namespace relpos::inline RELPOS_ABI
