#pragma once
// Checks of lists that divide a batch into sequences, or have a number for each sequence.

#include <array>

#include "relpos/call/options.hpp"
#include "relpos/check/numbers.hpp"
#include "relpos/core/index_list.hpp"
#include "relpos/core/status.hpp"

namespace relpos::inline RELPOS_ABI {

/// Refuses cumulative lengths that do not divide the rows of `tensor`, [1, head, row, channel].
/// They rise from 0 to the number of rows.
inline status check_starts(const char* name, const index_list& starts, const char* tensor,
                           const std::array<index_t, 4>& shape) {
  if (starts.empty()) return {};
  const auto number = [](index_t x) { return static_cast<long long>(x); };
  if (starts.is_null()) {
    return status::error(status_code::null_data, "%s: is null, %lld numbers", name,
                         number(starts.size()));
  }
  if (shape[0] != 1) {
    return status::error(status_code::invalid_shape,
                         "%s: the rows of all sequences are in one batch entry, but %s is %s", name,
                         tensor, shape_text(shape).text);
  }
  if (starts[0] != 0) {
    return status::error(status_code::invalid_value, "%s: begins with %lld, must begin with 0",
                         name, number(starts[0]));
  }
  for (index_t i = 1; i < starts.size(); ++i) {
    if (starts[i - 1] <= starts[i]) continue;
    return status::error(status_code::invalid_value,
                         "%s: is %lld at %lld, less than the %lld before it", name,
                         number(starts[i]), number(i), number(starts[i - 1]));
  }
  const index_t rows = starts[starts.size() - 1];
  if (rows == shape[2]) return {};
  return status::error(status_code::invalid_shape, "%s: ends with %lld, but %s has %lld rows: %s",
                       name, number(rows), tensor, number(shape[2]), shape_text(shape).text);
}

/// Refuses a list that does not have a position, within +-2^60, for each of `batch` sequences.
inline status check_offsets(const char* name, const index_list& offsets, index_t batch) {
  if (offsets.empty()) return {};
  const auto number = [](index_t x) { return static_cast<long long>(x); };
  if (offsets.size() != batch) {
    return status::error(status_code::invalid_shape,
                         "%s: has %lld numbers, must have one for each of %lld sequences", name,
                         number(offsets.size()), number(batch));
  }
  if (offsets.is_null()) {
    return status::error(status_code::null_data, "%s: is null, %lld numbers", name, number(batch));
  }
  for (index_t i = 0; i < batch; ++i) {
    if (-max_offset <= offsets[i] && offsets[i] <= max_offset) continue;
    return status::error(status_code::invalid_value, "%s: is %lld at %lld, must be within +-2^60",
                         name, number(offsets[i]), number(i));
  }
  return {};
}

/// Refuses invalid lists of offsets, and lists beside a single offset in the options.
inline status check_sequence_offsets(const options& opts, index_t batch) {
  if (opts.query_offset && !opts.query_offsets.empty()) {
    return status::error(
        status_code::invalid_value,
        "options.query_offsets: must be empty where options.query_offset is given");
  }
  if (opts.key_offset != 0 && !opts.key_offsets.empty()) {
    return status::error(status_code::invalid_value,
                         "options.key_offsets: must be empty where options.key_offset is not 0");
  }
  if (status valid = check_offsets("options.query_offsets", opts.query_offsets, batch); !valid) {
    return valid;
  }
  return check_offsets("options.key_offsets", opts.key_offsets, batch);
}

}  // namespace relpos::inline RELPOS_ABI
